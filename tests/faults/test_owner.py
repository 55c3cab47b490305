"""One server process owns a data folder; a second one ends with a sentence that says what to do."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import SERVE, UVICORN, Live, free_port

pytestmark = pytest.mark.slow

END_S = 60
SENTENCE = re.compile(r"Another server process owns \S+:[^\n]*--workers 1[^\n]*OUTLAST_DATABASE_URL[^\n]*\.")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with Live(tmp_path) as live:
        yield live


def test_a_second_server_ends_with_one_sentence_and_harms_not_the_first(live: Live) -> None:
    done = _run(live.data_dir, *SERVE)

    assert done.returncode not in (0, -9)
    assert len(SENTENCE.findall(done.stderr)) == 1
    assert "Traceback" not in done.stderr
    assert live.wait_for_end(live.submit(prompt="Hello", framework="echo"))["status"] == "succeeded"


def test_uvicorn_with_workers_ends_with_one_sentence(tmp_path: Path) -> None:
    done = _run(tmp_path / "data", *UVICORN, "--workers", "2")

    assert len(SENTENCE.findall(done.stderr)) == 1
    assert "Traceback" not in done.stderr


def _run(data_dir: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a server that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", *command, "--port", str(free_port())],
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "OUTLAST_DATA_DIR": str(data_dir)},
        cwd=data_dir.parent,
        capture_output=True,
        text=True,
        timeout=END_S,
        check=False,
    )
