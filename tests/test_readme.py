"""The README's samples, run as they stand against a real server; only the address is the test's own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import Live, wait_until
from tests.provider import Provider, Say

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)


@pytest.fixture
def live(tmp_path: Path) -> Live:
    """A server whose folder holds the files that the README shows."""
    for _, name, text in BLOCKS:
        if name:
            (tmp_path / name).write_text(text)
    return Live(tmp_path)


@pytest.mark.slow
def test_the_samples_for_clients_run_as_they_stand(live: Live) -> None:
    samples = [(kind, text) for kind, name, text in BLOCKS if "127.0.0.1:8005" in text and not name]
    with Provider() as provider:
        provider.answer = lambda asked: Say("Four.")
        live.env |= {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": provider.key}
        with live:
            printed = [_run(kind, text.replace("http://127.0.0.1:8005", live.url)) for kind, text in samples]

    assert [kind for kind, _ in samples] == ["sh", "python"]
    assert '"status":"queued"' in printed[0]
    assert printed[1].endswith("[DONE]\nFour.\n")


@pytest.mark.slow
def test_the_agent_of_the_readme_survives_a_crash(live: Live) -> None:
    with live:
        job_id = live.submit(prompt="whales", agent="report")
        wait_until(lambda: live.status(job_id)["status"] == "running", 20, lambda: "the run to start")
        live.kill_tree()
        live.start()

        status = live.wait_for_end(job_id)
        result = live.http.get(f"/api/v1/runs/{job_id}/result").json()

    assert status["attempt"] == 2
    assert result["result"] == "A report on whales."


@pytest.mark.slow
def test_the_program_of_the_readme_pays_for_no_chapter_twice(tmp_path: Path) -> None:
    (tmp_path / "my_agent.py").write_text(next(text for _, name, text in BLOCKS if name == "my_agent.py"))
    line = [sys.executable, "-m", "outlast", "exec"]
    with Provider() as provider:
        provider.answer = lambda asked: Say(f"This is sentence {len(provider.asked)}.")
        env = {
            **os.environ,
            "OUTLAST_DATA_DIR": str(tmp_path / "data"),
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": provider.key,
        }
        with subprocess.Popen(
            [*line, "--", sys.executable, "my_agent.py"], cwd=tmp_path, env=env, stdout=subprocess.PIPE
        ) as first:
            assert first.stdout is not None
            assert first.stdout.readline() == b"chapter 1 is written\n"
            first.kill()
        (folder,) = (tmp_path / "data" / "exec").iterdir()
        resumed = subprocess.run(
            [*line, "--resume", folder.name],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            check=True,
            timeout=60,
        )
        asked = [request.body for request in provider.asked]

    assert resumed.stdout.startswith(b"chapter 1 is written\nchapter 2 is written\n")
    assert b"There was a ship. This is sentence 1. " in resumed.stdout
    assert len(asked) <= 6  # the call that was in flight may have been asked twice
    assert asked[0] not in asked[1:]


def _run(kind: str, text: str) -> str:
    command = [sys.executable, "-c", text] if kind == "python" else ["bash", "-euc", text]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
