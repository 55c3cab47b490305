"""What is known of the workers on a store: their leases, and what they say of themselves."""

import msgspec


class WorkerCard(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a worker says of itself with every beat."""

    name: str = ""
    """What its operator calls it."""
    host: str = ""
    pid: int = 0
    instance: str = ""
    """A random name of its process: host and pid may be those of another, in containers."""
    version: str = ""
    runners: tuple[str, ...] = ()
    queues: tuple[str, ...] | None = None
    """The queues it serves, null for all of them."""
    has_model: bool = False
    """Whether a run that needs a model finds one there."""
    shared: int = 0
    """Places for shared attempts."""
    isolated: int = 0
    """Places for isolated attempts."""
    is_draining: bool = False
    at: int = 0
    """What its clock said when it asked for this lease."""
    lease_ms: int = 0
    """How long a lease it asked for."""


class WorkerSeen(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A worker as the store knows it."""

    id: str
    card: WorkerCard
    started_at: int
    lease_until: int
    lost_at: int | None
    """When it was found that its lease had ended, null while it lives."""
    runs: tuple[str, ...]
    """The ids of the runs that it holds and that the asker may see."""
    shared_taken: int = 0
    """Places for shared attempts that are taken, whosever runs have them."""
    isolated_taken: int = 0

    @property
    def state(self) -> str:
        """What people call it: live, draining or lost."""
        if self.lost_at is not None:
            return "lost"
        return "draining" if self.card.is_draining else "live"

    @property
    def is_live(self) -> bool:
        return self.lost_at is None
