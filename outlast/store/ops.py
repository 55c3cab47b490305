"""What can be handed to a writer of either store, and how long things are kept."""

import msgspec

from outlast.store.lanes import SessionKey
from outlast.transitions import Command

NOTICE_CLAIM_MS = 60_000
"""A notice that was claimed and not settled in this time is due again."""
LOST_KEPT_MS = 24 * 3600 * 1000
"""How long a lost worker is remembered: for as long as it might come back and ask."""
YOUNG_MS = 3600 * 1000
"""A blob is written before the run that refers to it: younger ones are not cleared away."""


class Apply(msgspec.Struct, frozen=True):
    """One command for one run."""

    run_id: str
    command: Command
    tenant: str | None


class Recover(msgspec.Struct, frozen=True):
    """Requeue what lost its worker; ready what is due; use room in lanes."""

    is_first: bool = False
    """Since the start: the limits in force may be others than before."""


class Reap(msgspec.Struct, frozen=True):
    """Nothing of this attempt is left."""

    attempt_id: str


class LimitSession(msgspec.Struct, frozen=True):
    """Give a session a limit of its own, or none."""

    key: SessionKey
    max_running: int | None
