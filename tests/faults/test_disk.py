"""A disk that fills up under a server, and has room again."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests import invariants
from tests.live import Live, wait_until

pytestmark = pytest.mark.slow

SIZE = "24m"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system where the server keeps its runs."""
    place = tmp_path / "data"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("a disk of its own needs the mount command")
    if mounted.returncode != 0:
        pytest.skip(f"a disk of its own cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_refuses_what_it_cannot_keep_and_loses_nothing(tmp_path: Path, disk: Path) -> None:
    with Live(tmp_path) as live:
        before = [live.submit(prompt=f"task {n}", framework="echo") for n in range(20)]
        for job_id in before:
            live.wait_for_end(job_id)
        _fill(disk)

        wait_until(lambda: _answer(live) == 503, 20, lambda: "submits to be refused")
        refused = live.http.post("/api/v1/runs", json={"prompt": "x" * 100_000, "framework": "echo"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert {live.status(job_id)["status"] for job_id in before} == {"succeeded"}
        assert live.http.get("/health").status_code == 200

        (disk / "ballast").unlink()
        wait_until(lambda: _answer(live) == 202, 20, lambda: "submits to be accepted again")
        after = live.submit(prompt="after", framework="echo")
        assert live.wait_for_end(after)["status"] == "succeeded"
        wait_until(lambda: _left(live) == 0, 20, lambda: f"{_left(live)} runs to end")
        assert live.terminate() == 0
    invariants.check(disk / "outlast.db")


def _fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(os.urandom(65_536))


def _answer(live: Live) -> int:
    status = live.http.post("/api/v1/runs", json={"prompt": "y" * 50_000, "framework": "echo"}).status_code
    assert status in (202, 503)
    return status


def _left(live: Live) -> int:
    counts = live.http.get("/stats").json()["by_status"]
    return int(counts["queued"] + counts["running"])
