"""Plays cases on a stage: submits the runs, kills them at their calls, and reports."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import msgspec

from outlast.client import Event
from outlast.client.sse import Reader
from tests.frameworks.clerk import Clerks
from tests.frameworks.stage import DEADLINE_S, Stage
from tests.frameworks.story import CALLED, COMMON, Call, Case, Outcome, Victim
from tests.live import wait_until
from tests.provider import Asked


class Play:
    """Plays cases on a stage, all at the same time; kills of the worker are common to all of them."""

    def __init__(self, stage: Stage, cases: Sequence[Case]) -> None:
        self._stage = stage
        self._cases = cases
        self._common: dict[int, threading.Barrier] = {}
        for n in range(max(len(case.kills) for case in cases)):
            of_worker = [case for case in cases if len(case.kills) > n and case.kills[n] in COMMON]
            if of_worker:
                with_server = any(case.kills[n] is Victim.SERVER for case in of_worker)
                action = stage.kill_server if with_server else stage.kill_worker
                self._common[n] = threading.Barrier(len(of_worker), action, timeout=2 * DEADLINE_S)

    def outcomes(self) -> dict[str, Outcome]:
        """Of each case, by its name; the stage is closed then. Raises what went wrong with any of them."""
        with ThreadPoolExecutor(len(self._cases)) as threads:
            played = {case.name: threads.submit(self._play, case) for case in self._cases}
        errors = [error for one in played.values() if (error := one.exception()) is not None]
        errors.sort(key=lambda error: isinstance(error, threading.BrokenBarrierError))
        if errors:
            raise AssertionError(
                f"{len(errors)} of {len(played)} could not go on\n{self._stage.logs()}"
            ) from errors[0]
        self._stage.close()
        return {name: one.result() for name, one in played.items()}

    def _play(self, case: Case) -> Outcome:
        try:
            with httpx.Client(base_url=self._stage.live.url, timeout=60, trust_env=False) as http:
                run = Playing(self._stage, case, http)
                lost = sum(self._kill(run, n) for n in range(len(case.kills)))
                return run.end(lost)
        except BaseException:
            for barrier in self._common.values():
                barrier.abort()  # the others need not wait for this one
            raise

    def _kill(self, run: "Playing", n: int) -> int:
        """Kill it; how many calls of its were in flight that nobody will hear the answer of."""
        victim = run.case.kills[n]
        call = run.until_calling(run.case.at(n))
        if victim not in CALLED:
            run.freeze()
            run.let_go(call)
            run.until_quiet(calls=0)
        elif victim in COMMON:
            run.freeze()
            run.until_quiet(calls=1)
        if victim in COMMON:
            self._common[n].wait()
        else:
            run.kill_agent()
        run.prepare(n + 1)
        run.let_go(call)
        return int(victim is Victim.WORKER_CALLING)


class Playing:
    """A run in the course of being killed."""

    def __init__(self, stage: Stage, case: Case, http: httpx.Client) -> None:
        """`http` is its own: a client is not made for many threads."""
        self.case = case
        self._stage = stage
        self._clerks: Clerks = stage.clerks
        self._http = http
        self._let_go: list[Asked] = []
        self.prepare(0)
        body = {"prompt": case.prompt, "agent": case.clerk.name}
        answer = self._http.post("/api/v1/runs", json=body)
        assert answer.status_code == 202, answer.text
        self._id = str(answer.json()["job_id"])

    def prepare(self, kill: int) -> None:
        """Have the provider hold back the call at which it is to be killed next."""
        if len(self.case.kills) > kill:
            self._clerks.hold(self.case.name, self.case.at(kill))

    def until_calling(self, number: int) -> Asked:
        """Wait until it makes the call of this number, which the provider begins to answer and then does not go on."""
        self._until(lambda: bool(self._held()), f"call {number} to be held")
        return self._held()[0]

    def _held(self) -> list[Asked]:
        return [asked for asked in self._paid() if asked.is_held and asked not in self._let_go]

    def freeze(self) -> None:
        """Let its processes stand still: they make no further call, and the answers to the last ones wait for them."""
        self._stage.freeze(self._id)

    def until_quiet(self, calls: int) -> None:
        """Wait until no more than so many calls are in flight, and all others are kept."""
        self._until(lambda: len(self._clerks.in_flight(self.case.name)) == calls, f"{calls} calls in flight")
        self._until(lambda: self._kept() >= self._answered(), "its answers to be kept")

    def kill_agent(self) -> None:
        self._stage.kill(self._id)

    def let_go(self, call: Asked) -> None:
        self._let_go.append(call)
        self._clerks.provider.let_go(call)

    def end(self, lost: int) -> Outcome:
        """What has become of it once it has ended."""
        self._until(self._has_ended, "its end")
        status = self._status()
        assert status["status"] == "succeeded", f"{status}\n{self._told()}"
        calls = msgspec.convert(self._get("/calls?limit=1000")["calls"], list[Call])
        return Outcome(
            status=str(status["status"]),
            result=self._get("/result")["result"],
            paid=len(self._paid()),
            lost=lost,
            live=sum(call.how == "live" for call in calls),
            replayed=sum(call.how == "exact" for call in calls),
            attempts=int(str(status["attempt"])),
            diverged=tuple(call.diverged.field for call in calls if call.diverged is not None),
            ends=sum(event.event == "complete" for event in self._events()),
        )

    def _paid(self) -> list[Asked]:
        return self._clerks.paid(self.case.name)

    def _answered(self) -> int:
        return sum(asked.answered for asked in self._paid())

    def _kept(self) -> int:
        """How many calls the server says were made: each is counted when it is kept."""
        usage = self._status().get("usage")
        return usage["model_calls"] if isinstance(usage, dict) else 0

    def _status(self, wait_s: int = 0) -> dict[str, object]:
        return self._get(f"?wait={wait_s}")

    def _has_ended(self, wait_s: int = 1) -> bool:
        return self._status(wait_s)["status"] in ("succeeded", "failed", "cancelled")

    def _get(self, path: str) -> dict[str, object]:
        answer = self._http.get(f"/api/v1/runs/{self._id}{path}")
        assert answer.status_code == 200, answer.text
        found: dict[str, object] = answer.json()
        return found

    def _events(self) -> list[Event]:
        """All its events, once it has ended."""
        return list(Reader(0).feed(self._http.get(f"/api/v1/runs/{self._id}/stream").content))

    def _told(self) -> str:
        told = [f"{event.event} {event.data}" for event in self._events()] if self._has_ended() else []
        return "\n".join(told[-40:])

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(condition, DEADLINE_S, lambda: f"{what} of {self.case.name}; {self._where()}")

    def _where(self) -> str:
        return (
            f"{len(self._paid())} calls paid, {self._answered()} answered\n{self._status()}\n{self._told()}"
        )
