"""Heads kept in memory for the event loop's reads: right as long as nobody has written whose writing we did not see."""

from collections.abc import Callable, Iterable

from outlast.runs import Run
from outlast.store.sqlite.turns import Turns

HEADS_MAX = 10_000
"""About 1.5 KiB each."""


class Heads:
    """The newest heads, by run id. Belongs to the loop's thread."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._kept: dict[str, Run] = {}
        self._as_of = -1

    def get(self, run_id: str, read: Callable[[str], Run | None]) -> Run | None:
        """The head, from memory if that is right, else as `read` finds it in the store."""
        count = self._turns.count
        if count == self._as_of and (kept := self._kept.get(run_id)) is not None:
            return kept
        run = read(run_id)
        if run is not None and self._is_still(count):
            self._adopt(count)
            self._keep(run)
        return run

    def warm(self, read: Callable[[], Iterable[Run]]) -> None:
        """Keep what `read` finds, unless somebody writes meanwhile."""
        count = self._turns.count
        runs = list(read())
        if self._is_still(count):
            self._adopt(count)
            for run in runs:
                self._keep(run)

    def written(self, changed: Iterable[tuple[Run, bool]], before: int, after: int) -> None:
        """Our own turn led from count `before` to `after` and left these heads, or (True) deleted them."""
        if self._as_of != before:
            return  # what is kept missed something: the next read will see that
        self._as_of = after
        for run, deleted in changed:
            self._kept.pop(run.id, None)
            if not deleted:
                self._keep(run)

    def _is_still(self, count: int) -> bool:
        """Whether nobody wrote at this count, or has written since."""
        return count % 2 == 0 and self._turns.count == count

    def _adopt(self, count: int) -> None:
        if count != self._as_of:
            self._kept.clear()
            self._as_of = count

    def _keep(self, run: Run) -> None:
        self._kept[run.id] = run
        if len(self._kept) > HEADS_MAX:
            del self._kept[next(iter(self._kept))]
