"""Whether a PostgreSQL is set up so that what was accepted stays."""

from collections.abc import Sequence

from outlast.doctor.findings import Finding, fine, note, wrong
from outlast.store.snapshot import Snapshot

OLDEST, NEWEST = 14, 18
"""The versions that the tests run on."""
CONNECTIONS = 8
"""Of one server or worker."""

_SETTINGS = """
SELECT name, setting FROM pg_settings
WHERE name IN (
    'server_version_num', 'fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names',
    'max_connections', 'superuser_reserved_connections', 'autovacuum', 'server_encoding'
)
"""
_STANDBYS = (
    "SELECT count(*), sum(CASE WHEN sync_state IN ('sync', 'quorum') THEN 1 END) FROM pg_stat_replication"
)
_SIZE = "SELECT pg_database_size(current_database())"
_CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL"
Settings = dict[str, str]


async def check(snapshot: Snapshot, *, listens: bool) -> Sequence[Finding]:
    """What its settings say."""
    settings = {str(name): str(value) for name, value in await snapshot.rows(_SETTINGS)}
    return [
        _version(settings),
        *_durability(settings, listens=listens),
        await _standby(snapshot, settings),
        await _connections(snapshot, settings),
        await _room(snapshot),
    ]


def _version(settings: Settings) -> Finding:
    major = int(settings["server_version_num"]) // 10_000
    if major < OLDEST:
        return wrong("database", f"It is PostgreSQL {major}.", f"Outlast needs {OLDEST} or newer.")
    if major > NEWEST:
        return note("database", f"It is PostgreSQL {major}; Outlast was tested with {OLDEST} to {NEWEST}.")
    return fine("database", f"It is PostgreSQL {major}.")


def _durability(settings: Settings, *, listens: bool) -> list[Finding]:
    found = []
    if settings["fsync"] != "on":
        found.append(
            wrong(
                "database", "fsync is off: a power cut loses accepted runs.", "Set fsync = on and restart it."
            )
        )
    if settings["full_page_writes"] != "on":
        found.append(
            note(
                "database",
                "full_page_writes is off: a power cut may tear pages.",
                "Set it on, unless the file system under it never tears a page (ZFS).",
            )
        )
    if settings["synchronous_commit"] == "off" and not listens:
        found.append(
            wrong(
                "database",
                "synchronous_commit is off, and behind a pooler Outlast cannot set it.",
                "ALTER DATABASE … SET synchronous_commit = on.",
            )
        )
    if settings["autovacuum"] != "on":
        found.append(wrong("database", "autovacuum is off: tables grow without end.", "Set autovacuum = on."))
    return found or [fine("database", "It writes to the disk before it answers.")]


async def _standby(snapshot: Snapshot, settings: Settings) -> Finding:
    if not settings["synchronous_standby_names"]:
        return note(
            "standby",
            "No synchronous standby protects an accepted run: each is on the disk of this one database server alone, "
            "and lost with it, back to the last backup; a promoted asynchronous standby lacks the last moments.",
            "If that is too little, name a standby in synchronous_standby_names (docs/operations/postgres.md).",
        )
    ((connected, synchronous),) = await snapshot.rows(_STANDBYS)
    if not connected:
        return wrong(
            "standby",
            "synchronous_standby_names is set and no standby is connected: every commit waits.",
            "Bring the standby back, or empty synchronous_standby_names and reload.",
        )
    if synchronous is None:
        return note(
            "standby",
            f"{connected} standbys are connected; whether one is synchronous is hidden from this user.",
            "GRANT pg_monitor to it to see.",
        )
    return fine("standby", f"{synchronous} synchronous standbys hold every accepted run too.")


async def _connections(snapshot: Snapshot, settings: Settings) -> Finding:
    most = int(settings["max_connections"]) - int(settings["superuser_reserved_connections"])
    ((taken,),) = await snapshot.rows(_CONNECTED)
    assert isinstance(taken, int)
    says = f"{taken} of {most} connections are taken; a server or worker takes up to {CONNECTIONS}"
    if most - taken < CONNECTIONS:
        return wrong(
            "connections",
            f"{says}, so another may find none.",
            "Raise max_connections, or put a pooler in between (docs/operations/postgres.md).",
        )
    return fine("connections", f"{says}.")


async def _room(snapshot: Snapshot) -> Finding:
    ((size,),) = await snapshot.rows(_SIZE)
    assert isinstance(size, int)
    return note(
        "disk",
        f"The database has {size / 2**20:.0f} MiB; how much room its disk has, it does not say.",
    )
