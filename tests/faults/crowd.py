"""Clients that submit through any server, again and again until it is acknowledged, and remember every answer."""

import threading
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self
from uuid import uuid4

import httpx

from tests.faults.fleet import Fleet
from tests.live import Live, wait_until


class Crowd:
    """As a context manager it submits runs of `body` until it is left; `accepted` is what was acknowledged by then."""

    def __init__(self, servers: Sequence[Live], clients: int = 4, **body: object) -> None:
        self.accepted: dict[str, str] = {}
        """The run of each key."""
        self.answers: Counter[int | str] = Counter()
        """How often each status came; the name of the error where none did."""
        self._body = body
        self._name = uuid4().hex[:8]
        self._urls = [server.url for server in servers]
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._submit_all, args=(n,)) for n in range(clients)]

    def has_accepted(self, runs: int, timeout_s: float = 30) -> None:
        """Wait for so many more."""
        wanted = len(self.accepted) + runs
        wait_until(
            lambda: len(self.accepted) >= wanted,
            timeout_s,
            lambda: f"{wanted} accepted runs; there are {len(self.accepted)}, answered {self.answers}",
        )

    def check(self, fleet: Fleet, timeout_s: float = 60) -> None:
        """Every acknowledged run is the only one of its key, and has echoed it."""
        wait_until(lambda: self._left(fleet) == 0, timeout_s, lambda: f"{self._left(fleet)} runs to end")
        rows = fleet.fetch(
            "SELECT idempotency_key, id, state, convert_from(result, 'UTF8') FROM outlast.runs WHERE id = ANY($1)",
            list(self.accepted.values()),
        )
        assert {row[0]: row[1] for row in rows} == self.accepted
        assert {(row[2], row[3]) for row in rows} == {("succeeded", f'"{key}"') for key in self.accepted}

    def _left(self, fleet: Fleet) -> int:
        rows = fleet.fetch(
            "SELECT count(*) FROM outlast.runs WHERE finished_at IS NULL AND idempotency_key IS NOT NULL"
        )
        return int(rows[0][0])

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _submit_all(self, client: int) -> None:
        number = 0
        with httpx.Client(timeout=30, trust_env=False) as http:
            while not self._over.is_set():
                self._submit(http, f"{self._name}-{client}-{number}", client + number)
                number += 1
                self._over.wait(0.01)

    def _submit(self, http: httpx.Client, key: str, server: int) -> None:
        """The same again at the next server, until one of them says yes; what was begun is ended."""
        for turn in range(400):
            answer = self._ask(http, key, self._urls[(server + turn) % len(self._urls)])
            if answer is not None and answer.status_code == 202:
                with self._lock:
                    self.accepted[key] = answer.json()["job_id"]
                return
            self._over.wait(0.1)

    def _ask(self, http: httpx.Client, key: str, url: str) -> httpx.Response | None:
        answer = None
        try:
            answer = http.post(
                f"{url}/api/v1/runs", json={"prompt": key, **self._body}, headers={"Idempotency-Key": key}
            )
        except httpx.TransportError as error:
            said: int | str = type(error).__name__
        else:
            said = answer.status_code
            assert said != 503 or "retry-after" in answer.headers
        with self._lock:
            self.answers[said] += 1
        return answer
