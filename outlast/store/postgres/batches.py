"""What the writer of everything but submits does with a batch: a `Transaction`, and what it takes to get it done."""

from collections.abc import Callable, Mapping, Sequence

from outlast.store.lanes import Limits
from outlast.store.ops import Apply
from outlast.store.postgres.batch import Op, Transaction
from outlast.store.postgres.connection import Link
from outlast.store.postgres.lanes import NeedsTenants
from outlast.store.postgres.writer import CommitUnknown, Outcome
from outlast.transitions import HandBack


class Batches:
    """Remembers between batches what one has to know of the ones before."""

    def __init__(
        self, shard: Callable[[Link], int], limits: Callable[[], Limits], on_left: Callable[[], None]
    ) -> None:
        """`on_left` hears that runs were held for a moment and then not taken: who skipped them should look again."""
        self._shard = shard
        self._limits = limits
        self._on_left = on_left
        self._looks = False
        self._doubtful: dict[str, str] = {}
        """Runs that a claim may have taken whose commit was never answered, and their attempts."""

    async def transact(self, link: Link, ops: Sequence[Op]) -> Outcome:
        """Do the batch, and hand back what an earlier claim may have taken without anybody knowing."""
        doubtful = dict(self._doubtful)
        handed_back = [Apply(run_id, HandBack(attempt_id), None) for run_id, attempt_id in doubtful.items()]
        outcome = await self._transact(link, [*handed_back, *ops])
        for run_id in doubtful:
            self._doubtful.pop(run_id, None)
        return Outcome(outcome.answers[len(handed_back) :], outcome.transitions)

    def doubt(self, claimed: Mapping[str, str]) -> None:
        """These runs may have been taken by these attempts, and nobody knows of it."""
        self._doubtful.update(claimed)

    async def _transact(self, link: Link, ops: Sequence[Op]) -> Outcome:
        transaction = Transaction(link, self._shard(link), self._limits(), looks=self._looks)
        try:
            outcome = await transaction.run(ops)
        except CommitUnknown:
            self.doubt(transaction.claimed)
            raise
        except NeedsTenants:
            if self._looks:
                raise
            self._looks = True
            return await self._transact(link, ops)
        if transaction.has_left:
            self._on_left()
        return outcome
