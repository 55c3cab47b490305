"""What lanes do, in a few lines: lists of who is in and who waits."""

from collections import defaultdict
from collections.abc import Sequence

SESSION_LIMIT = 1
AGENT_LIMIT = 2
TENANT_LIMIT = 3


class LaneModel:
    """Lanes by name; whoever is in one is named by its run, and after the run's end by its attempt."""

    def __init__(self) -> None:
        self._inside: defaultdict[str, list[str]] = defaultdict(list)
        self._queue: defaultdict[str, list[str]] = defaultdict(list)
        self._lanes: dict[str, list[str]] = {}

    def enter(self, run_id: str, session: str | None, agent: str | None) -> None:
        lanes = [
            *([f"session {session}"] if session else []),
            *([f"agent {agent}"] if agent else []),
            "tenant",
        ]
        self._lanes[run_id] = lanes
        self._walk(run_id, lanes)

    def _walk(self, run_id: str, lanes: Sequence[str]) -> None:
        for lane in lanes:
            if self._queue[lane] or not self._has_room(lane):
                self._queue[lane].append(run_id)
                return
            self._inside[lane].append(run_id)

    def _has_room(self, lane: str) -> bool:
        limit = {"session": SESSION_LIMIT, "agent": AGENT_LIMIT, "tenant": TENANT_LIMIT}[lane.split()[0]]
        return len(self._inside[lane]) < limit

    def leave(self, name: str) -> None:
        """A run has ended, or nothing is left of an attempt."""
        self._remove(name)
        self.settle()

    def _remove(self, name: str) -> None:
        for lane in (*self._inside.values(), *self._queue.values()):
            if name in lane:
                lane.remove(name)

    def linger(self, run_id: str, attempt_id: str) -> None:
        """The run has ended, its attempt not."""
        for lane in self._inside.values():
            lane[:] = [attempt_id if name == run_id else name for name in lane]

    def remove_attempts(self) -> None:
        """Nothing is left of any attempt."""
        for name in {name for lane in self._inside.values() for name in lane if name.startswith("att_")}:
            self._remove(name)

    def settle(self) -> None:
        """Let in who is next, at the end of the way first."""
        for lane in sorted(
            self._queue, key=lambda name: ("tenant agent session".index(name.split()[0]), name)
        ):
            while self._queue[lane] and self._has_room(lane):
                run_id = min(self._queue[lane])  # ids sort by the time they were made
                self._queue[lane].remove(run_id)
                self._inside[lane].append(run_id)
                lanes = self._lanes[run_id]
                self._walk(run_id, lanes[lanes.index(lane) + 1 :])

    def waits(self, run_id: str) -> bool:
        return any(run_id in lane for lane in self._queue.values())
