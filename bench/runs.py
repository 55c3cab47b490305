"""Runs as a client of either server sees them, over one connection."""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import msgspec

from bench.load import Connection, LoadError, get, post
from bench.server import Server

_PAUSE_S = 0.002
_PATIENCE_S = 120.0


class _Accepted(msgspec.Struct):
    job_id: str


class _Status(msgspec.Struct):
    status: str


class _Result(msgspec.Struct):
    result: str


_ACCEPTED = msgspec.json.Decoder(_Accepted)
_STATUS = msgspec.json.Decoder(_Status)
_RESULT = msgspec.json.Decoder(_Result)


def accepted(body: bytes) -> str:
    """The id in the answer to a submit."""
    return _ACCEPTED.decode(body).job_id


def status_request(run_id: str) -> bytes:
    """The GET of a run's status."""
    return get(f"/api/v1/runs/{run_id}")


@dataclass(frozen=True)
class End:
    """When the last run was seen finished, and what the server's tree had used of the CPU by then."""

    at: float
    cpu_s: float


class Watcher:
    """Follows runs without listing them: one GET each 2 ms."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection = Connection(server.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def submit(self) -> tuple[str, int]:
        """A fresh run's id, and when its submit was sent (monotonic, ns)."""
        body = self._connection.ask(self._server.recipe.submit, b"202")
        return accepted(body), self._connection.sent_at

    def ask(self, request: bytes, expected: bytes) -> bytes:
        """Any request's answer."""
        return self._connection.ask(request, expected)

    def result(self, run_id: str) -> str:
        return _RESULT.decode(self._connection.ask(get(f"/api/v1/runs/{run_id}/result"), b"200")).result

    def cancel(self, run_id: str) -> None:
        self._connection.ask(post(f"/api/v1/runs/{run_id}/cancel", b""), b"200")

    def look(self, run_id: str) -> int:
        """How long a GET of its status takes, in ns."""
        self._connection.ask(status_request(run_id), b"200")
        return time.monotonic_ns() - self._connection.sent_at

    def until(self, run_id: str, wanted: str) -> bool:
        """Wait for a status; whether that took more than one look. Another end than the wanted one is an error."""
        deadline = time.monotonic() + _PATIENCE_S
        waited = False
        request = status_request(run_id)
        while (status := _STATUS.decode(body := self._connection.ask(request, b"200")).status) != wanted:
            if status not in ("queued", "running") or time.monotonic() > deadline:
                raise LoadError(f"{self._server.name}: expected {wanted}, got: {body.decode()}")
            waited = True
            time.sleep(_PAUSE_S)
        return waited

    def all_succeeded(self, run_ids: list[str]) -> End:
        """When all of them had succeeded.

        Waits for the last one accepted, then goes back through the others: those found finished at the first look
        were finished before, so the clock stops when the last wait ended, not when the walk did.
        """
        end: End | None = None
        for run_id in reversed(run_ids):
            if self.until(run_id, "succeeded") or end is None:
                end = End(time.monotonic(), self._server.cpu_s())
        if end is None:
            raise LoadError("There were no runs to wait for.")
        return end
