"""What an examination finds."""

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum

import msgspec

from outlast.store.snapshot import Snapshot


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    """As it should be."""
    NOTE = "note"
    """Not wrong, and yet to be known."""
    WRONG = "wrong"
    """Somebody has to do something."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A sentence about the store, and what is to be done."""

    level: Level
    about: str
    says: str
    remedy: str = ""
    key: str = ""
    """What it is about, the same in the next snapshot if it is still so."""

    @property
    def identity(self) -> tuple[str, str]:
        return self.about, self.key or self.says


Check = Callable[[Snapshot], Awaitable[Sequence[Finding]]]
"""Looks at a snapshot for one kind of thing that may be wrong."""


def wrong(about: str, says: str, remedy: str, key: str = "") -> Finding:
    return Finding(Level.WRONG, about, says, remedy, key)


def note(about: str, says: str, remedy: str = "") -> Finding:
    return Finding(Level.NOTE, about, says, remedy)


def fine(about: str, says: str) -> Finding:
    return Finding(Level.OK, about, says)


def ago(ms: int) -> str:
    """A length of time as people say it."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms >= 2 * size:
            return f"{ms // size} {unit}"
    return f"{ms // 1000} s"
