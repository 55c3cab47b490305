"""What an operator sees when a server cannot start: one sentence, soon, and an exit code."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.live import Live, free_port, wait_until


def _outlast(folder: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**clean, **env},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


def _serve(folder: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    return _outlast(folder, "-m", "outlast", "serve", "--port", str(free_port()), *options, **env)


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    ended = _serve(tmp_path, "--data-dir", str(tmp_path / "file"))

    assert ended.returncode == 1
    assert "file cannot be used: File exists. Name one" in ended.stderr


def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path) -> None:
    with Live(tmp_path) as live:
        ended = _outlast(tmp_path, "-m", "outlast", "serve", "--port", str(live.port), "--data-dir", "other")

    assert ended.returncode == 2
    assert f"Cannot listen on 127.0.0.1 port {live.port}: Address already in use." in ended.stderr
    assert not (tmp_path / "other").exists()


def test_a_door_that_would_be_open_is_not_opened(tmp_path: Path) -> None:
    ended = _serve(tmp_path, "--host", "0.0.0.0")

    assert ended.returncode == 2
    assert "there are no keys. Set OUTLAST_API_KEYS" in ended.stderr


def test_a_providers_key_that_is_not_there_is_named_before_a_run_needs_it(tmp_path: Path) -> None:
    (tmp_path / "outlast.toml").write_text('[upstreams.azure]\nkey_env = "AZURE_KEY"\n')

    ended = _serve(tmp_path)

    assert ended.returncode == 2
    assert "[upstreams.azure] in outlast.toml has key_env = 'AZURE_KEY', which is not set." in ended.stderr


@pytest.mark.parametrize("host", ["127.0.0.2", "127.1.2.3"])
def test_a_door_that_only_this_machine_finds_needs_no_key(tmp_path: Path, host: str) -> None:
    (tmp_path / "file").touch()

    ended = _serve(tmp_path, "--host", host, "--data-dir", "file")

    assert "there are no keys" not in ended.stderr
    assert "file cannot be used" in ended.stderr


def test_a_database_that_is_away_is_not_silently_another_store(tmp_path: Path) -> None:
    ended = _serve(tmp_path, OUTLAST_DATABASE_URL=f"postgresql://me:secret@127.0.0.1:{free_port()}/outlast")

    assert ended.returncode == 1
    assert "The database at 127.0.0.1/outlast cannot be reached" in ended.stderr
    assert "secret" not in ended.stderr


def test_runs_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    (tmp_path / "outlast.db").write_bytes(b"not a database " * 100)

    ended = _serve(tmp_path, "--data-dir", str(tmp_path))

    assert ended.returncode == 1
    assert "outlast.db cannot be opened: file is not a database." in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_server_started_without_standard_streams_has_nothing_else_in_their_place(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "outlast", "serve", "--port", str(port), "--data-dir", str(tmp_path)]
    server = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], cwd=tmp_path)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            wait_until(lambda: _is_ready(http), 20, lambda: "the server to be ready")
        found = [Path(f"/proc/{server.pid}/fd/{descriptor}").readlink() for descriptor in range(3)]
        server.terminate()

        assert found == [Path(os.devnull)] * 3
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait(10)


def _is_ready(http: httpx.Client) -> bool:
    try:
        return http.get("/ready").is_success
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_a_second_server_on_the_same_folder_is_told_what_to_do(tmp_path: Path) -> None:
    command = ["-m", "uvicorn", "outlast.app:create_app", "--factory", "--port"]
    with Live(tmp_path) as live:
        ended = _outlast(tmp_path, *command, str(free_port()), OUTLAST_DATA_DIR=str(live.data_dir))

    assert ended.returncode != 0
    assert "--workers 1" in ended.stderr
    assert "OUTLAST_DATABASE_URL" in ended.stderr
