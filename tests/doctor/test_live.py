"""`outlast doctor` beside a server that is at work: it disturbs nothing, and takes nothing passing for wrong."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import msgspec
import pytest

from outlast.doctor import Finding
from tests.live import Live
from tests.postgres import Postgres

FINDINGS = msgspec.json.Decoder(list[Finding])


@pytest.fixture(params=["sqlite", "postgres"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Live:
    """A server on either store, not started; one session at a time goes through lanes."""
    env = {"OUTLAST_SESSION_CONCURRENCY": "2"}
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        env["OUTLAST_DATABASE_URL"] = server.database()
    return Live(tmp_path, env)


def doctor(live: Live, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Run as the operator would, in the server's environment."""
    clean = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "outlast", "doctor", *options],
        cwd=live.root,
        env={**clean, **live.env},
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.slow
def test_a_busy_store_is_sound(live: Live) -> None:
    enough = threading.Event()

    def submit() -> None:
        runs = [{"prompt": "p", "framework": "echo", "session_id": f"s{n % 3}"} for n in range(50)]
        with httpx.Client(base_url=live.url, timeout=30, trust_env=False) as http:
            while not enough.is_set():
                assert http.post("/api/v1/runs/batch", json={"runs": runs}).is_success

    with live:
        load = threading.Thread(target=submit)
        load.start()
        found = [doctor(live, "--json") for _ in range(2)]
        enough.set()
        load.join()
        counts = live.http.get("/stats").json()

    assert [done.returncode for done in found] == [0, 0], found
    assert counts["total_jobs"] > 100
    about = {finding.about for done in found for finding in FINDINGS.decode(done.stdout)}
    assert {"schema", "promise", "stuck", "disk"} <= about
    assert ("standby" in about) == ("OUTLAST_DATABASE_URL" in live.env)


def test_a_folder_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    done = doctor(Live(tmp_path), "--data-dir", "nowhere")

    assert done.returncode == 2
    assert b"cannot be read: unable to open database file. Name the server's data folder" in done.stderr
