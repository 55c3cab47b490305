"""What is SQLite's own: the file, its owner, its durability, its plans."""

import asyncio
import logging
import os
import re
import sqlite3
import threading
from collections.abc import Coroutine
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import pytest

from outlast.clock import FakeClock
from outlast.engine import Engine
from outlast.errors import StoreOwned, StoreUnavailable
from outlast.lifecycle import decide
from outlast.runs import Body, Isolation, Retry, Run, RunState
from outlast.store.protocol import Offer, Page, RunFilter
from outlast.store.queries import query, statements
from outlast.store.sqlite import SqliteStore
from outlast.store.sqlite.ops import PACKAGE
from outlast.transitions import Claim, Succeed
from tests.runs_factory import ME, WORKER, claim, new_run, running, submit

T = TypeVar("T")
STORES = ("sqlite",)


async def test_a_second_owner_is_refused_with_the_way_out(store: SqliteStore, clock: FakeClock) -> None:
    second = SqliteStore(store.path.parent, clock)

    with pytest.raises(StoreOwned, match=r"--workers 1.*OUTLAST_DATABASE_URL"):
        await second.open()


async def test_a_new_owner_finds_everything_and_recovers_what_ran(tmp_path: Path, clock: FakeClock) -> None:
    first = SqliteStore(tmp_path, clock)
    await first.open()
    engine = Engine(first, clock)
    ran, _ = await running(engine, new_run(session_id="s", key="k"))
    queued = await submit(engine)
    await first.close()

    second = SqliteStore(tmp_path, clock)
    await second.open()
    engine = Engine(second, clock)
    await engine.recover()

    claimed = await claim(engine, limit=5, worker="worker_2")
    await second.close()
    assert [c.run.id for c in claimed] == [ran.id, queued.id]


async def test_a_run_is_read_right_when_its_head_is_not_in_memory(store: SqliteStore, engine: Engine) -> None:
    run = await submit(engine)
    store._heads.warm(list)
    store._turns.take()
    store._turns.end([run.id])

    assert await engine.get(ME, run.id) == run
    assert (await engine.cancel(ME, run.id)).state is RunState.CANCELLED


async def test_an_error_of_the_database_refuses_all_and_harms_nothing(
    store: SqliteStore, engine: Engine
) -> None:
    pages = sqlite3.connect(store.path).execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")

    outcomes = await asyncio.gather(
        *[engine.submit(ME, new_run("x" * 50_000)) for _ in range(5)], return_exceptions=True
    )

    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert (await submit(engine, new_run("x" * 50_000))).state is RunState.QUEUED


async def _in_one_commit(store: SqliteStore, *writes: Coroutine[None, None, T]) -> list[T | BaseException]:
    """The outcomes of writes that reach the writer while it is held up, so that they share its next commit."""
    gate = threading.Event()
    held = asyncio.create_task(store._writer.do(lambda db, now: gate.wait(10)))
    tasks = [asyncio.create_task(write) for write in writes]
    await asyncio.sleep(0)
    gate.set()
    await held
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_claim_beside_a_cancel_and_a_delete_takes_what_is_left(
    store: SqliteStore, engine: Engine
) -> None:
    kept, gone = await submit(engine), await submit(engine)
    assert await engine.beat(WORKER, 30)
    offer = Offer(WORKER, Isolation.SHARED, frozenset({"echo"}), 5)

    *_, claimed = await _in_one_commit(
        store, engine.cancel(ME, gone.id), engine.delete(ME, gone.id), engine.claim(offer)
    )

    assert isinstance(claimed, list), claimed
    assert [c.run.id for c in claimed] == [kept.id]


async def test_an_attempt_hears_of_a_cancel_whose_run_is_deleted_with_it(
    store: SqliteStore, engine: Engine
) -> None:
    run, attempt_id = await running(engine)
    taken: list[Run] = []
    engine.wakeups.guard(attempt_id, taken.append)

    with engine.watch(run.id) as watch:
        await _in_one_commit(store, engine.cancel(ME, run.id), engine.delete(ME, run.id))

        assert await watch.wait(5)
    assert [run.state for run in taken] == [RunState.CANCELLED]


@pytest.mark.parametrize("which", [RunFilter(), RunFilter(session_id="s"), RunFilter(agent="a")])
async def test_a_list_that_cannot_be_read_says_that_the_store_is_away(
    store: SqliteStore, engine: Engine, which: RunFilter
) -> None:
    store._connection.execute("ALTER TABLE runs RENAME TO hidden")

    with pytest.raises(StoreUnavailable, match="could not be read"):
        await engine.list_runs(ME, which, Page())

    store._connection.execute("ALTER TABLE hidden RENAME TO runs")


async def test_writes_are_flushed_and_the_file_can_shrink(store: SqliteStore) -> None:
    pragmas = {
        name: store._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "auto_vacuum", "foreign_keys")
    }

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2, "foreign_keys": 1}


async def test_bytes_of_deleted_runs_are_cleared_away_and_no_others(
    store: SqliteStore, engine: Engine, clock: FakeClock
) -> None:
    kept, gone = [await submit(engine, new_run(word * 100_000)) for word in ("kept", "gone")]
    for run in (kept, gone):
        await engine.cancel(ME, run.id)
    await engine.delete(ME, gone.id)
    pages = _pragma(store, "page_count")
    await engine.recover()
    assert _blobs(store) == 2

    clock.advance(3601)
    for _ in range(3):
        await engine.recover()

    assert _blobs(store) == 1
    assert await store.request(kept.id) is not None
    assert _pragma(store, "page_count") < pages


def _blobs(store: SqliteStore) -> int:
    count: int = store._reads.execute("SELECT count(*) FROM blobs").fetchone()[0]
    return count


def _pragma(store: SqliteStore, name: str) -> int:
    value: int = store._reads.execute(f"PRAGMA {name}").fetchone()[0]
    return value


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 1500])
def test_a_set_wise_write_covers_every_row_once(n: int) -> None:
    rows = [(i, f"s{i}", "t", 0, 1) for i in range(n)]

    written = [value for _, values in statements(PACKAGE, "add_counts", rows) for value in values]

    assert written == [value for row in rows for value in row]


async def test_the_updates_of_a_claim_and_a_success_write_all_that_these_change(engine: Engine) -> None:
    queued = await submit(engine, new_run(retry=Retry(max_attempts=3), session_id="s"))

    running = decide(queued, Claim("att_1", WORKER), queued.created_at + 5).run
    succeeded = decide(running, Succeed("att_1", Body(2, b"{}")), queued.created_at + 9).run

    assert _changed(queued, running) <= _written("update_claimed")
    assert _changed(running, succeeded) <= _written("update_succeeded")


def _changed(before: Run, after: Run) -> set[str]:
    return {name for name in Run.__struct_fields__ if getattr(before, name) != getattr(after, name)}


def _written(name: str) -> set[str]:
    return set(re.findall(r"^(?:SET|\s)\s+(\w+) = new", query(PACKAGE, name), re.M))


HOT: dict[str, tuple[str | int, ...] | dict[str, str | int]] = {
    "select_ready": ("isolated", '["echo"]', '["default"]', 10),
    "select_due": (0,),
    "next_due_at": (),
    "select_orphans": (0,),
    "select_head": ("r",),
    "select_by_key": ("t", "", "k"),
    "select_events": ("r", 0, 100),
    "select_blocked": ("t", "session:s", 10),
    "select_lane": ("t", "session:s"),
    "select_session_limits": ('[["t", "s"]]',),
    "select_remains": ("att",),
    "select_steps": ('[["r", 1, "k"]]',),
    "count_steps": ("r", 1),
    "list_sessions": ("t", 1, "s", 20, 0),
    "list_by_tenant": {"tenant": "t", "before": "z", "size": 20, "offset": 0},
    "list_by_status": {"tenant": "t", "status": "failed", "before": "z", "size": 20, "offset": 0},
    "list_by_schedule": {
        "tenant": "t",
        "schedule_id": "s",
        "status": "failed",
        "agent": "a",
        "framework": "f",
        "before": "z",
        "size": 20,
        "offset": 0,
    },
}


@pytest.mark.parametrize("name", HOT)
async def test_hot_queries_search_an_index_and_sort_nothing(store: SqliteStore, name: str) -> None:
    sql = query(PACKAGE, name).replace(":head", "runs.id").replace(":step", "steps.key")

    plan = [row[3] for row in store._reads.execute(f"EXPLAIN QUERY PLAN {sql}", HOT[name])]

    assert not [step for step in plan if step.startswith("SCAN") and "json_each" not in step], plan
    assert not [step for step in plan if "TEMP B-TREE" in step], plan


@pytest.mark.parametrize(("name", "parameters"), [("claim_notices", 5), ("next_notice_at", 1)])
async def test_the_outbox_is_searched_and_never_scanned(
    store: SqliteStore, name: str, parameters: int
) -> None:
    explain = f"EXPLAIN QUERY PLAN {query(PACKAGE, name)}"

    plan = [row[3] for row in store._connection.execute(explain, ("[]",) * parameters)]

    assert [step for step in plan if "outbox_by_receiver" in step]
    assert not [step for step in plan if step in ("SCAN outbox", "SCAN due")]


async def test_what_it_keeps_is_readable_by_its_owner_alone(tmp_path: Path, clock: FakeClock) -> None:
    before = os.umask(0o022)
    store = SqliteStore(tmp_path / "data", clock)
    await store.open()
    os.umask(before)
    await submit(Engine(store, clock))

    modes = {path.name: path.stat().st_mode & 0o777 for path in store.path.parent.iterdir()}
    folder = store.path.parent.stat().st_mode & 0o777
    await store.close()

    assert folder == 0o700
    assert modes == dict.fromkeys(
        ["outlast.db", "outlast.db-wal", "outlast.db-shm", "outlast.lock", "outlast.turn"], 0o600
    )


async def test_a_mode_that_the_operator_chose_stays(tmp_path: Path, clock: FakeClock) -> None:
    store = SqliteStore(tmp_path, clock)
    await store.open()
    await store.close()
    store.path.chmod(0o640)

    await store.open()
    await store.close()

    assert store.path.stat().st_mode & 0o777 == 0o640


async def test_every_query_is_read_when_the_store_is_opened(tmp_path: Path, clock: FakeClock) -> None:
    query.cache_clear()
    store = SqliteStore(tmp_path, clock)

    await store.open()

    there = [file.name for file in (files(PACKAGE)).iterdir() if file.name.endswith(".sql")]
    assert query.cache_info().currsize == len(there)
    await store.close()


async def test_a_full_disk_is_said_once_and_so_is_its_end(
    store: SqliteStore, engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("outlast"), "propagate", True)
    await submit(engine)
    fill(store)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="disk is full"):
            await submit(engine, new_run(LARGE))
    store._connection.execute("PRAGMA max_page_count = 1000000")
    await submit(engine, new_run(LARGE))

    said = [record for record in caplog.records if record.name == "outlast.store"]
    assert [record.getMessage() for record in said] == ["commits fail", "commits work again"]
    assert said[1].fields == {"refused": 3}  # type: ignore[attr-defined]  # telemetry's
    assert not any(record.exc_info for record in said)


async def test_a_store_whose_last_commit_failed_is_not_ready(store: SqliteStore, engine: Engine) -> None:
    await engine.check_ready()
    fill(store)
    with pytest.raises(StoreUnavailable):
        await submit(engine, new_run(LARGE))

    with pytest.raises(StoreUnavailable, match="disk is full"):
        await engine.check_ready()

    store._connection.execute("PRAGMA max_page_count = 1000000")
    await submit(engine)
    await engine.check_ready()


async def test_a_store_without_room_on_its_disk_is_not_ready(
    store: SqliteStore, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.store.sqlite.store.ROOM_MIN", 1 << 60)

    with pytest.raises(StoreUnavailable, match="is full"):
        await engine.check_ready()


LARGE = "x" * 60_000
"""A prompt that needs pages of its own."""


def fill(store: SqliteStore) -> None:
    """Leave no page to be added: SQLite says of it what it says of a full disk."""
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
