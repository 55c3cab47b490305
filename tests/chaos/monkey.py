"""Who does the harm: by a seed, one thing after another, each undone after a while, several at a time."""

import random
import signal
import time
from collections.abc import Callable

import asyncpg

from tests.chaos.fleet import LEASE_S, Fleet, Member, name_of, send
from tests.chaos.history import Harm, History
from tests.postgres import Postgres

LOOK_S = 0.05
ASK_S = 0.3
Undo = Callable[[], None]
Act = Callable[[], str | None]
BREATH_S = 20.0
"""How long it waits, most times, for somebody to be served again."""


class Monkey:
    """Harms a fleet until it is told to stop; then everything runs again."""

    def __init__(self, fleet: Fleet, history: History, seed: int, every_s: float) -> None:
        self._fleet = fleet
        self._history = history
        self._chance = random.Random(f"{seed}:monkey")
        self._every_s = every_s
        self._undoing: list[tuple[float, Undo]] = []
        self._hurt: set[str] = set()
        """What is stopped now, or down for a while, and is left alone meanwhile."""
        self._acts = self._choice()
        self._breath_until = self._asked_at = 0.0

    def run(self, until: float) -> None:
        """Do harm until that time on `time.monotonic`, then undo what is left."""
        next_at = time.monotonic() + self._chance.uniform(0, self._every_s)
        while (now := time.monotonic()) < until:
            if now >= next_at and self._has_breath(now):
                self._act()
                next_at = now + self._chance.uniform(0.2, 1.8) * self._every_s
                self._breath_until = now + (BREATH_S if self._chance.random() < 0.7 else 0)
            self._undo(now)
            self._look()
            time.sleep(LOOK_S)
        self._undo(float("inf"))

    def _has_breath(self, now: float) -> bool:
        """Whether there is something to be harmed: mostly it waits for that, or nobody would ever be served."""
        if now < self._breath_until and now < self._asked_at + ASK_S:
            return False
        self._asked_at = now
        return now >= self._breath_until or self._fleet.serves()

    def _act(self) -> None:
        """One harm, if what it is meant for is there to be harmed."""
        kinds = list(self._acts)
        (kind,) = self._chance.choices(kinds, [self._acts[kind][0] for kind in kinds])
        target = self._acts[kind][1]()
        if target is not None:
            self._history.write(Harm(at=time.monotonic(), kind=kind, target=target))

    def _choice(self) -> dict[str, tuple[int, Act]]:
        """What it can do, and how often it does each."""
        fleet = self._fleet
        members = fleet.workers or fleet.servers
        acts: dict[str, tuple[int, Act]] = {
            "agent killed": (2, lambda: self._kill_below(members, "outlast-agent")),
            "host killed": (2, lambda: self._kill_below(members, "outlast-host")),
            "fork server killed": (1, lambda: self._kill_below(members, "outlast-forks")),
            "server killed": (4, lambda: self._kill(fleet.servers)),
            "server told to end": (2, lambda: self._end(fleet.servers)),
            "server stopped and let go on": (3, lambda: self._stop(fleet.servers)),
        }
        if fleet.postgres is None:
            acts["everything killed"] = (4, lambda: self._kill(members, tree=True))
            acts["worker killed"] = (4, lambda: self._kill_below(members, "outlast-worker"))
        else:
            acts |= {
                "worker killed": (6, lambda: self._kill(members)),
                "worker told to end": (3, lambda: self._end(members)),
                "worker stopped and let go on": (5, lambda: self._stop(members)),
                "worker stopped with its agents": (2, lambda: self._stop(members, tree=True)),
                **_of_database(self, fleet.postgres),
            }
        return acts

    def _pick(self, members: list[Member]) -> Member | None:
        """One that runs and is not stopped."""
        fit = [member for member in members if member.is_alive and member.name not in self._hurt]
        return self._chance.choice(fit) if fit else None

    def _kill(self, members: list[Member], *, tree: bool = False) -> str | None:
        member = self._pick(members)
        if member is None:
            return None
        member.signal(signal.SIGKILL, tree=tree)
        return member.name

    def _end(self, members: list[Member]) -> str | None:
        member = self._pick(members)
        if member is None:
            return None
        member.signal(signal.SIGTERM)
        return member.name

    def _stop(self, members: list[Member], *, tree: bool = False) -> str | None:
        """SIGSTOP for a while, often for longer than a lease, and SIGCONT."""
        member = self._pick(members)
        if member is None:
            return None
        pids = member.tree() if tree else [member.pid]
        for pid in pids:
            send(pid, signal.SIGSTOP)
        self._later(member.name, self._chance.uniform(0.3, 2.5) * LEASE_S, lambda: _go_on(pids))
        return member.name

    def _kill_below(self, members: list[Member], name: str) -> str | None:
        """Kill a process of that name below a member."""
        member = self._pick(members)
        if member is None:
            return None
        below = [(pid, name_of(pid)) for pid in member.tree()[1:]]
        fit = [pid for pid, found in below if found == name]
        if not fit:
            return None
        send(self._chance.choice(fit), signal.SIGKILL)
        return member.name

    def kill_database(self, postgres: Postgres) -> str | None:
        """SIGKILL; it comes back after up to three seconds."""
        if "postgres" in self._hurt:
            return None
        postgres.kill()
        self._later("postgres", self._chance.uniform(0.2, 3), lambda: _start(postgres))
        return "postgres"

    def end_database(self, postgres: Postgres) -> str | None:
        if "postgres" in self._hurt:
            return None
        postgres.stop()
        self._later("postgres", self._chance.uniform(0.2, 3), lambda: _start(postgres))
        return "postgres"

    def pause_database(self, postgres: Postgres) -> str | None:
        if "postgres" in self._hurt:
            return None
        postgres.pause()
        self._later("postgres", self._chance.uniform(0.5, 1.5 * LEASE_S), postgres.resume)
        return "postgres"

    def cut_connections(self, postgres: Postgres) -> str | None:
        """Half of all connections, by `pg_terminate_backend`."""
        if "postgres" in self._hurt:
            return None
        try:
            postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND random() < 0.5"
            )
        except (asyncpg.PostgresError, OSError, TimeoutError):
            return None
        return "connections"

    def _later(self, name: str, after_s: float, undo: Undo) -> None:
        def heal() -> None:
            undo()
            self._hurt.discard(name)
            self._history.write(Harm(at=time.monotonic(), kind="goes on", target=name))

        self._hurt.add(name)
        self._undoing.append((time.monotonic() + after_s, heal))

    def _undo(self, now: float) -> None:
        due = [undo for at, undo in self._undoing if at <= now]
        self._undoing = [(at, undo) for at, undo in self._undoing if at > now]
        for undo in due:
            undo()

    def _look(self) -> None:
        for ended in self._fleet.look():
            self._history.write(ended)


def _of_database(monkey: Monkey, postgres: Postgres) -> dict[str, tuple[int, Act]]:
    return {
        "database killed": (3, lambda: monkey.kill_database(postgres)),
        "database told to end": (2, lambda: monkey.end_database(postgres)),
        "database stopped and let go on": (3, lambda: monkey.pause_database(postgres)),
        "connections cut": (4, lambda: monkey.cut_connections(postgres)),
    }


def _go_on(pids: list[int]) -> None:
    for pid in pids:
        send(pid, signal.SIGCONT)


def _start(postgres: Postgres) -> None:
    """Start it; what it needs to recover takes as long as it takes."""
    postgres.start()
