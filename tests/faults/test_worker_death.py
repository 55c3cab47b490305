"""The worker's process dies beside a server that lives."""

import os
import signal
from pathlib import Path

import pytest

from tests.faults.ward import ward
from tests.live import descendants, wait_until

pytestmark = pytest.mark.slow


def test_a_killed_worker_is_replaced_while_the_server_answers(tmp_path: Path) -> None:
    with ward(tmp_path) as place:
        running = place.calling("escapes", "For ever.", calls=4)
        worker = descendants(place.live.pid)[0]

        os.kill(worker, signal.SIGKILL)
        statuses = {place.live.http.get("/health").status_code for _ in range(50)}
        wait_until(
            lambda: place.live.status(running)["attempt"] == 2,
            10,
            lambda: f"the run to be taken up again: {place.live.status(running)}",
        )
        queued = place.live.wait_for_end(place.live.submit(prompt="Hello", framework="echo"))

        assert statuses == {200}
        assert queued["status"] == "succeeded"
        assert worker not in descendants(place.live.pid)
        place.cancel(running)
        assert place.live.terminate() == 0
