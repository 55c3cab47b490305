"""Accepted is durable: the disk is told to keep a run before its 202 is sent, as the kernel saw it."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live import UVICORN, Live, wait_until

pytestmark = pytest.mark.slow

FLUSH = re.compile(r"^\d+ +(\d+\.\d+) (?:fsync|fdatasync)\(", re.MULTILINE)
QUIET = {"OUTLAST_LEASE_S": "3000"}
"""Nothing is written while nothing happens: the lease need not be renewed."""


def test_a_lone_submit_is_flushed_before_it_is_accepted(tmp_path: Path) -> None:
    with Live(tmp_path, QUIET, UVICORN) as live:
        live.wait_for_end(live.submit(prompt="Warm up.", framework="echo"), 60)
        with _watching(live.pid, tmp_path / "flushes") as flushes:
            sent_at = time.time()
            job_id = live.submit(prompt="Keep this.", framework="echo")
            accepted_at = time.time()
            live.wait_for_end(job_id)

        at = [float(found) for found in FLUSH.findall(flushes.read_text())]
    before = [moment for moment in at if sent_at < moment < accepted_at]
    print(f"flushes: {len(before)} before the 202, {len(at)} for the whole run")  # noqa: T201
    assert len(before) >= 1


@contextmanager
def _watching(pid: int, file: Path) -> Iterator[Path]:
    """The process's flushes, written to `file` by the end."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    said = file.with_suffix(".said")
    command = ["strace", "-f", "-ttt", "-e", "trace=fsync,fdatasync", "-o", str(file), "-p", str(pid)]
    with said.open("wb") as stderr:
        strace = subprocess.Popen(command, stderr=stderr)
    try:
        wait_until(lambda: strace.poll() is not None or "attached" in said.read_text(), 20, said.read_text)
        if strace.poll() is not None:
            pytest.skip(f"strace may not look: {said.read_text()}")
        yield file
    finally:
        strace.terminate()
        strace.wait(20)
