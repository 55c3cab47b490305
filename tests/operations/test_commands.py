"""The commands on the pages, run as they stand."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import invariants
from tests.live import Live
from tests.operations.pages import blocks
from tests.postgres import Postgres, newest


def run(folder: Path, script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A block as a shell would run it, with our commands before others on the path."""
    path = f"{Path(sys.executable).parent}:{newest()}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env={"HOME": str(folder), "PATH": path, **env},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


@pytest.mark.slow
def test_a_copy_of_a_folder_in_use_can_be_served(tmp_path: Path) -> None:
    (backup,) = [block for block in blocks("postgres.md", "sh") if "VACUUM INTO" in block]
    with Live(tmp_path) as live:
        ids = [live.submit(prompt="p", framework="echo") for _ in range(3)]
        for job_id in ids:
            live.wait_for_end(job_id)
        (tmp_path / "restored" / "data").mkdir(parents=True)
        done = run(
            tmp_path,
            backup,
            OUTLAST_DATA_DIR=str(live.data_dir),
            BACKUP_DIR=str(tmp_path / "restored" / "data"),
        )
        assert done.returncode == 0, done.stderr
        (workers,) = blocks("deploy.md", "sh", "Stopping")
        shown = run(tmp_path, workers, OUTLAST_URL=live.url)

    assert "1 of 1 workers take runs." in shown.stderr
    invariants.check(tmp_path / "restored" / "data" / "outlast.db")
    with Live(tmp_path / "restored") as restored:
        assert [restored.status(job_id)["status"] for job_id in ids] == ["succeeded"] * 3


def test_migrations_are_checked_and_done(tmp_path: Path) -> None:
    (migrate,) = blocks("postgres.md", "sh", "Upgrades and migrations")

    done = run(tmp_path, migrate, OUTLAST_DATA_DIR=str(tmp_path / "data"))

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("schema 1 is up to date.")


@pytest.mark.skipif(
    shutil.which("pg_dump", path=f"{newest()}:{os.environ['PATH']}") is None,
    reason="pg_dump is not among the programs of the tests' PostgreSQL",
)
def test_a_dump_can_be_restored(tmp_path: Path, postgres: Postgres) -> None:
    (dump,) = [block for block in blocks("postgres.md", "sh") if "pg_dump" in block]

    done = run(
        tmp_path,
        dump,
        OUTLAST_DATABASE_URL=postgres.database(),
        RESTORED_URL=postgres.empty_database(),
    )

    assert done.returncode == 0, done.stderr
