"""What happened, as those saw it who were there: one JSON line for each request, stream, harm and word of an agent.

Times are `time.monotonic()`, which all processes of a machine share. This file is all that the checker reads.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec


class Call(msgspec.Struct, frozen=True, tag="call", kw_only=True, omit_defaults=True):
    """A request, and its answer or the absence of one."""

    asked_at: float
    answered_at: float
    """When the answer was there, or was given up."""
    client: str
    server: int
    method: str
    path: str
    key: str | None = None
    """The Idempotency-Key header."""
    body: str | None = None
    again: int = 0
    """How many times the same has been asked before."""
    status: int | None = None
    """None: no answer."""
    answer: str = ""
    """The answer's body, or why there is none."""
    replayed: bool = False
    retry_after: bool = False


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """An event as it came out of a stream."""

    at: float
    seq: int
    data: str
    """The line's JSON: `{"event": kind, "data": {…}}`."""


class Stream(msgspec.Struct, frozen=True, tag="stream", kw_only=True, omit_defaults=True):
    """One connection to a run's stream, from its first event to its last."""

    asked_at: float
    ended_at: float
    client: str
    server: int
    run_id: str
    after: int = 0
    status: int | None = None
    events: list[Seen] = []
    done: bool = False
    """Whether `[DONE]` came."""
    why: str = ""
    """Why it ended, if that was not it."""


class Harm(msgspec.Struct, frozen=True, tag="harm", kw_only=True):
    """Something was killed, stopped, or let go on."""

    at: float
    kind: str
    target: str


class Ended(msgspec.Struct, frozen=True, tag="ended", kw_only=True):
    """A process ended that nobody had harmed or told to end."""

    at: float
    target: str
    code: int
    age_s: float


class Said(msgspec.Struct, frozen=True, tag="said", kw_only=True):
    """An agent began or ended its work."""

    at: float
    word: str
    run_id: str
    attempt: int


class Audit(msgspec.Struct, frozen=True, tag="audit", kw_only=True):
    """The harm is over and the servers are started anew; from here on everything is looked at once more."""

    at: float


class Left(msgspec.Struct, frozen=True, tag="left", kw_only=True):
    """A process that was still there when everything had been ended."""

    at: float
    pid: int
    name: str


Record = Call | Stream | Harm | Ended | Said | Audit | Left
_encode = msgspec.json.Encoder().encode
_decode: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


class History:
    """Records on their way into a file, from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")
        self._lock = threading.Lock()

    def write(self, record: Record) -> None:
        with self._lock:
            self._file.write(_encode(record) + b"\n")

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[Record]:
    """The records of a file, in the order they were written."""
    with path.open("rb") as file:
        for line in file:
            yield _decode.decode(line)
