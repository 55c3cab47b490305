"""`kill -9` around fires and delays: each fire makes one run; a delayed run starts, and not before its time."""

import random
import sqlite3
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from tests import invariants
from tests.live import Live, wait_until

SEED = 20_261_122
SCHEDULES = 60
KILLS = 4
BEGIN_MS, EVERY_MS = 700, 20
"""When the first of them fires after the server is started, and how far apart they are."""
RARELY = "0 0 1 1 *"
ECHO = {"prompt": "again", "framework": "echo"}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_kills_around_fires_lose_none_and_double_none(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    expected: Counter[str] = Counter()
    with Live(tmp_path) as live:
        for n in range(SCHEDULES):
            answer = live.http.post(
                "/api/v1/schedules", json={"name": f"n{n}", "cron": RARELY, "missed": "run_once", "run": ECHO}
            )
            assert answer.status_code == 201, answer.text
        for _ in range(KILLS):
            live.kill_tree()
            _set_going(live, expected)
            live.start()
            time.sleep(chance.uniform(0, SCHEDULES * EVERY_MS / 1000))  # the random moment itself
        live.kill_tree()
        live.start()
        wait_until(lambda: not _going(live), 20, lambda: f"{_going(live)} to fire")

        for job_id in _made(live, "id"):
            assert live.wait_for_end(job_id)["status"] == "succeeded"

        made = Counter(_made(live, "schedule_id"))
    assert made == expected
    assert sum(expected.values()) > SCHEDULES
    invariants.check(live.data_dir / "outlast.db")


def test_a_delayed_run_outlives_a_kill_and_starts_at_its_time(tmp_path: Path) -> None:
    with Live(tmp_path) as live:
        first, second = [live.submit(prompt="later", framework="echo", delay=delay) for delay in (2, 3600)]
        due_at = datetime.fromisoformat(str(live.status(first)["run_at"]))
        live.kill_tree()

        live.start()

        ended = live.wait_for_end(first)
        assert ended["status"] == "succeeded"
        assert datetime.fromisoformat(str(ended["started_at"])) >= due_at
        assert live.status(second)["status"] == "queued"


def _set_going(live: Live, expected: Counter[str]) -> None:
    """While no server is there: let every schedule that waits for January fire in a moment, one after the other."""
    begin = round(time.time() * 1000) + BEGIN_MS
    with _database(live) as database:
        for n, schedule_id in enumerate(_waiting(database)):
            expected[schedule_id] += 1
            at = (begin + n * EVERY_MS, schedule_id)
            database.execute("UPDATE schedules SET next_fire_at = ? WHERE id = ?", at)
    database.close()


def _waiting(database: sqlite3.Connection) -> list[str]:
    far = round(time.time() * 1000) + 60_000
    found = database.execute("SELECT id FROM schedules WHERE next_fire_at > ? ORDER BY id", (far,))
    return [row[0] for row in found]


def _going(live: Live) -> int:
    """How many have yet to fire."""
    database = _database(live)
    waiting = len(_waiting(database))
    database.close()
    return SCHEDULES - waiting


def _made(live: Live, column: str) -> list[str]:
    database = _database(live)
    found = [row[0] for row in database.execute(f"SELECT {column} FROM runs")]
    database.close()
    return found


def _database(live: Live) -> sqlite3.Connection:
    return sqlite3.connect(live.data_dir / "outlast.db", timeout=10)
