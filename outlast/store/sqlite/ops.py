"""What can be handed to the writer: submits, commands, claims, and the small writes that touch no run."""

import hashlib
import sqlite3
from collections.abc import Callable, Collection

import msgspec

from outlast.runs import Body, Json, Notice
from outlast.store.ops import NOTICE_CLAIM_MS, Apply, LimitSession, Reap, Recover
from outlast.store.protocol import RECEIVER_SHARE, Delivery, Offer, Submit, Turn
from outlast.store.queries import Value, query

PACKAGE = "outlast.store.sqlite"

Answer = object


Do = Callable[[sqlite3.Connection, int], Answer]
"""A write that touches no run: gets the connection and the time."""
Op = Submit | Apply | Offer | Turn | Recover | Reap | LimitSession | Do


def beat(worker_id: str, lease_ms: int, card: Json) -> Do:
    """Whether the worker's lease was renewed."""

    def do(db: sqlite3.Connection, now: int) -> bool:
        row = db.execute(query(PACKAGE, "beat"), (worker_id, now, now + lease_ms, card)).fetchone()
        return row is not None

    return do


def put_blob(tenant: str, data: bytes) -> tuple[bytes, Do]:
    """The hash under which the bytes will be kept, and the write."""
    digest = hashlib.sha256(data).digest()

    def do(db: sqlite3.Connection, now: int) -> None:
        db.execute(query(PACKAGE, "put_blob"), (tenant, digest, now, data))

    return digest, do


def names(some: Collection[str]) -> str:
    """A set of names as one SQL parameter."""
    return msgspec.json.encode(list(some)).decode()


def claim_notices(limit: int, busy: Collection[str]) -> Do:
    """Due deliveries, put off for as long as their delivery may take."""

    def do(db: sqlite3.Connection, now: int) -> list[Delivery]:
        claim = (now, now + NOTICE_CLAIM_MS, RECEIVER_SHARE, limit, names(busy))
        found = db.execute(query(PACKAGE, "claim_notices"), claim).fetchall()
        return [_delivery(row) for row in found]

    return do


def _delivery(row: tuple) -> Delivery:  # type: ignore[type-arg]  # columns of claim_notices.sql
    result = None if row[7] is None else Body(row[7], row[5], row[6])
    return Delivery(Notice(row[0], row[1], row[2], row[3], row[4], result), row[8], row[9])


def statement(name: str, *parameters: Value) -> Do:
    """A single statement without an answer."""

    def do(db: sqlite3.Connection, now: int) -> None:
        db.execute(query(PACKAGE, name), parameters)

    return do
