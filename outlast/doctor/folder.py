"""Whether a data folder has room, and its file is whole."""

import os
from collections.abc import Sequence
from pathlib import Path

from outlast.doctor.findings import Finding, fine, note, wrong
from outlast.store.snapshot import Snapshot, TookTooLong

LITTLE = 64 * 2**20
"""With less, the server may have to refuse runs any moment."""
SOME = 2**30
LONG_WAL = 256 * 2**20


async def check(snapshot: Snapshot, path: Path) -> Sequence[Finding]:
    """The file, and the disk below it."""
    return [await _whole(snapshot), _room(path), *_wal(path)]


async def _whole(snapshot: Snapshot) -> Finding:
    try:
        rows = await snapshot.rows("PRAGMA quick_check(1)")
    except TookTooLong:
        return note(
            "file", "It is too large to be read through now.", "Run `PRAGMA quick_check` on a backup."
        )
    if rows != [("ok",)]:
        return wrong(
            "file",
            f"It is damaged: {rows[0][0]}.",
            "Stop the server, keep a copy, and go back to a backup (docs/operations/postgres.md).",
        )
    return fine("file", "It is whole.")


def _room(path: Path) -> Finding:
    disk = os.statvfs(path)
    free = disk.f_bavail * disk.f_frsize
    says = f"{free / 2**20:.0f} MiB are free beside {path.stat().st_size / 2**20:.0f} MiB of runs"
    if free < LITTLE:
        return wrong("disk", f"{says}: soon no run can be accepted.", "Make room, or delete finished runs.")
    return (
        fine("disk", f"{says}.")
        if free > SOME
        else note("disk", f"{says}.", "Make room before it is needed.")
    )


def _wal(path: Path) -> list[Finding]:
    wal = path.with_name(path.name + "-wal")
    size = wal.stat().st_size if wal.exists() else 0
    if size < LONG_WAL:
        return []
    return [
        note(
            "file",
            f"Its log has {size / 2**20:.0f} MiB: somebody reads for long, and keeps it from being worked off.",
            "Look for other programs that have the file open.",
        )
    ]
