"""Heads kept in memory for the event loop's reads: right as long as nobody has written whose writing we did not see."""

from collections.abc import Callable, Iterable

from outlast.runs import Run
from outlast.store.sqlite.turns import NEVER, Mark, Turns

HEADS_MAX = 10_000
"""About 1.5 KiB each."""


class Heads:
    """The newest heads, by run id. Belongs to the loop's thread."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._kept: dict[str, Run] = {}
        self._as_of = NEVER

    def get(self, run_id: str, read: Callable[[str], Run | None]) -> Run | None:
        """The head, from memory if that is right, else as `read` finds it in the store."""
        is_right = self._turns.count == self._as_of.count or self._catch_up()
        if is_right and (kept := self._kept.get(run_id)) is not None:
            return kept
        run = read(run_id)
        if run is not None and is_right and self._turns.count == self._as_of.count:
            self._keep(run)
        return run

    def warm(self, read: Callable[[], Iterable[Run]]) -> None:
        """Keep what `read` finds, unless somebody writes meanwhile."""
        is_right = self._catch_up()
        runs = list(read())
        if is_right and self._turns.count == self._as_of.count:
            for run in runs:
                self._keep(run)

    def written(self, changed: Iterable[tuple[Run, bool]], before: Mark, after: Mark) -> None:
        """Our own turn led from `before` to `after` and left these heads, or (True) deleted them."""
        if self._as_of.count > before.count:
            return  # seen by a read already, which has forgotten what our turn changed
        self._forget(before)
        self._as_of = after
        for run, deleted in changed:
            self._kept.pop(run.id, None)
            if not deleted:
                self._keep(run)

    def _catch_up(self) -> bool:
        """Forget what others have changed; False while somebody writes."""
        now = self._turns.mark()
        if now is None:
            return False
        self._forget(now)
        return self._turns.count == now.count

    def _forget(self, until: Mark) -> None:
        changed = self._turns.changed(self._as_of, until)
        if changed is None:
            self._kept.clear()
        else:
            for run_id in changed:
                self._kept.pop(run_id, None)
        self._as_of = until

    def _keep(self, run: Run) -> None:
        self._kept[run.id] = run
        if len(self._kept) > HEADS_MAX:
            del self._kept[next(iter(self._kept))]
