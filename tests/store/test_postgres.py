"""What is PostgreSQL's own: many processes on one database, and a database that goes away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from outlast.clock import SystemClock
from outlast.engine import Engine
from outlast.errors import ConfigError, StoreUnavailable
from outlast.runs import Body, Run, RunState, RunStatus
from outlast.store.postgres import PostgresStore
from outlast.store.protocol import TOLD_MAX, Submit
from outlast.transitions import Cancel
from tests import invariants
from tests.postgres import Postgres, newest
from tests.runs_factory import ME, claim, new_run, running, submit
from tests.store.conftest import Either

STORES = ("postgres",)
WAIT_S = 15


@pytest.fixture
async def others(either: Either, store: PostgresStore) -> AsyncIterator[list[Engine]]:
    """The engines of three more processes, as far as the database can tell."""
    stores = [PostgresStore(either.url or "") for _ in range(3)]
    for other in stores:
        await other.open()
    yield [Engine(other, either.clock) for other in stores]
    for other in stores:
        await other.close()


async def until_it_works(work: Callable[[], Awaitable[object]]) -> None:
    """Try again until the store is back."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await work()
                return
            except StoreUnavailable:
                await asyncio.sleep(0.05)


async def test_of_many_processes_that_submit_one_key_one_makes_the_run(
    engine: Engine, others: list[Engine]
) -> None:
    for n in range(20):
        verbs = [e.submit(ME, new_run(key=f"k{n}")) for e in [engine, *others] for _ in range(3)]

        submitted = await asyncio.gather(*verbs)

        assert len({answer.run.id for answer in submitted}) == 1
        assert [answer.replayed for answer in submitted].count(False) == 1


async def test_a_taken_key_harms_no_neighbour(engine: Engine, others: list[Engine]) -> None:
    taken = await submit(others[0], new_run(key="k"))

    new, conflict, replay, other = await asyncio.gather(
        engine.submit(ME, new_run()),
        engine.submit(ME, new_run(key="k", body=b"another")),
        engine.submit(ME, new_run(key="k")),
        engine.submit(ME, new_run(key="l")),
        return_exceptions=True,
    )

    assert type(conflict).__name__ == "IdempotencyConflict"
    assert [a for a in (new, replay, other) if isinstance(a, BaseException)] == []
    assert getattr(replay, "run", None) == taken


async def test_keys_taken_crosswise_end_well(engine: Engine, others: list[Engine]) -> None:
    keys = [f"k{n}" for n in range(50)]

    submitted = await asyncio.gather(
        *[engine.submit(ME, new_run(key=key)) for key in keys],
        *[others[0].submit(ME, new_run(key=key)) for key in reversed(keys)],
    )

    assert len({answer.run.id for answer in submitted}) == 50


async def test_a_submit_whose_answer_got_lost_finds_itself_accepted(
    store: PostgresStore, engine: Engine
) -> None:
    run = await submit(engine, new_run(key="k"))
    again = Submit(run, Body(2, b"{}"))

    answers = await asyncio.gather(store.submit(again), store.submit(again))

    assert [(answer.run, answer.replayed) for answer in answers] == [(run, False)] * 2
    assert len(await engine.events(ME, run.id)) == 1


async def test_no_run_is_claimed_twice(engine: Engine, others: list[Engine]) -> None:
    await asyncio.gather(*[submit(engine) for _ in range(200)])

    async def all_that_it_gets(of: Engine, worker: str) -> list[str]:
        taken: list[str] = []
        while found := await claim(of, 7, worker):
            taken += [claimed.run.id for claimed in found]
        return taken

    engines = enumerate([engine, *others])
    taken = await asyncio.gather(*[all_that_it_gets(e, f"worker_{n}") for n, e in engines])

    everything = [run_id for some in taken for run_id in some]
    assert len(everything) == len(set(everything)) == 200


async def test_of_racing_outcomes_in_many_processes_one_counts(engine: Engine, others: list[Engine]) -> None:
    run, attempt_id = await running(engine)

    outcomes = await asyncio.gather(
        engine.succeed(run, attempt_id, b"1"),
        *[other.cancel(ME, run.id) for other in others],
        return_exceptions=True,
    )

    assert len([outcome for outcome in outcomes if isinstance(outcome, Run)]) == 1


async def test_janitors_of_many_processes_take_each_run_once(
    engine: Engine, others: list[Engine], either: Either
) -> None:
    held = [(await running(engine))[0].id for _ in range(20)]
    either.clock.advance(31)

    recovered = await asyncio.gather(*[e.recover() for e in [engine, *others]])

    assert sorted(t.run.id for some in recovered for t in some) == sorted(held)


async def test_another_process_hears_at_once_of_what_concerns_it(
    engine: Engine, others: list[Engine]
) -> None:
    other = others[0]
    run = await submit(engine)
    (claimed,) = await claim(engine)
    attempt_id = claimed.run.attempt_id or ""
    with other.watch(run.id) as watch:
        await watch.wait(2)  # for the first look of all
        watch.take_stale()

        await engine.succeed(claimed.run, attempt_id, b"1")

        assert await watch.wait(0.9)
        assert watch.take_stale()


async def test_a_run_taken_by_another_process_is_doubted_by_its_worker(
    engine: Engine, others: list[Engine]
) -> None:
    run, attempt_id = await running(engine)
    engine.wakeups.guard(attempt_id, lambda taken: None)
    engine.wakeups.doubt = type(engine.wakeups.doubt)()

    await others[0].cancel(ME, run.id)

    assert await engine.wakeups.doubt.wait(WAIT_S)
    assert await engine.held("worker_1") == frozenset()


async def test_what_one_process_tells_the_others_hear(store: PostgresStore, either: Either) -> None:
    other = PostgresStore(either.url or "")
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    looked: asyncio.Queue[int] = asyncio.Queue()
    other.on_told = heard.put_nowait
    other.on_rung = lambda rungs: looked.put_nowait(len(rungs))
    await other.open()
    await asyncio.wait_for(looked.get(), WAIT_S)
    message = bytes(range(256)) * (TOLD_MAX // 256)

    for said in (message, b"twice", b"twice"):
        store.tell(said)

    assert [await asyncio.wait_for(heard.get(), WAIT_S) for _ in range(3)] == [message, b"twice", b"twice"]
    await other.close()


async def test_without_a_session_of_its_own_a_process_looks_every_second(either: Either) -> None:
    store = PostgresStore(either.url or "", listen=False)
    await store.open()
    engine = Engine(store, either.clock)
    looked: asyncio.Queue[int] = asyncio.Queue()
    store.on_rung = lambda rungs: looked.put_nowait(len(rungs))

    run = await submit(engine, new_run(session_id="s", key="k"))
    await engine.cancel(ME, run.id)

    assert [await asyncio.wait_for(looked.get(), WAIT_S) for _ in range(2)] == [0, 0]
    await store.close()
    await either.check()


async def test_servers_that_start_at_once_make_one_schema(postgres: Postgres) -> None:
    url = postgres.empty_database()
    stores = [PostgresStore(url) for _ in range(4)]

    await asyncio.gather(*[store.open() for store in stores])

    await submit(Engine(stores[3], SystemClock()))
    for store in stores:
        await store.close()
    await invariants.check_database(url)


async def test_a_database_that_could_lose_runs_is_refused() -> None:
    with Postgres(newest(), {"fsync": "off"}) as server, pytest.raises(ConfigError, match="fsync=off"):
        await PostgresStore(server.empty_database()).open()


async def test_a_schema_of_newer_code_is_refused(postgres: Postgres) -> None:
    url = postgres.database()
    postgres.execute("UPDATE outlast.schema SET oldest_compatible_code = 99", url.rpartition("/")[2])

    with pytest.raises(ConfigError, match="newer Outlast"):
        await PostgresStore(url).open()


async def test_nothing_accepted_is_lost_with_the_server_and_everything_goes_on() -> None:
    with Postgres(newest()) as server:
        url = server.database()
        store = PostgresStore(url)
        await store.open()
        engine = Engine(store, SystemClock())
        runs = await asyncio.gather(*[submit(engine) for _ in range(50)])

        server.kill()
        with pytest.raises(StoreUnavailable):
            await submit(engine)
        with pytest.raises(StoreUnavailable):
            await engine.get(ME, runs[0].id)
        server.start()

        await until_it_works(lambda: engine.get(ME, runs[0].id))
        await until_it_works(lambda: engine.cancel(ME, runs[0].id))
        listed = await engine.counts(ME)
        assert (listed[RunStatus.QUEUED], listed[RunStatus.CANCELLED]) == (49, 1)
        await until_it_works(lambda: claim(engine, 5))
        await store.close()
        await invariants.check_database(url)


async def test_a_restart_while_nothing_happens_is_not_noticed() -> None:
    with Postgres(newest()) as server:
        store = PostgresStore(server.database())
        await store.open()
        engine = Engine(store, SystemClock())
        run = await submit(engine)
        await engine.cancel(ME, run.id)

        server.stop()
        server.start()

        assert (await engine.get(ME, run.id)).state is RunState.CANCELLED
        assert (await submit(engine)).state is RunState.QUEUED
        assert (await engine.cancel(ME, (await submit(engine)).id)).state is RunState.CANCELLED
        await store.close()


async def test_a_connection_cut_under_a_write_leaves_it_whole_or_undone(
    either: Either, store: PostgresStore
) -> None:
    engine = Engine(store, either.clock)
    link = await asyncpg.connect(either.url)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    accepted = 0

    for _ in range(10):
        verbs = [asyncio.create_task(engine.submit(ME, new_run())) for _ in range(20)]
        await asyncio.sleep(0)
        await link.execute(cut)
        answers = await asyncio.gather(*verbs, return_exceptions=True)
        await until_it_works(lambda: engine.submit(ME, new_run()))

        unexpected = [a for a in answers if isinstance(a, Exception) and not isinstance(a, StoreUnavailable)]
        assert unexpected == []
        accepted += 1 + len([a for a in answers if not isinstance(a, BaseException)])

    await link.close()
    await until_it_works(lambda: engine.counts(ME))
    assert (await engine.counts(ME))[RunStatus.QUEUED] >= accepted


async def test_a_claim_whose_commit_was_not_answered_is_handed_back(
    store: PostgresStore, engine: Engine, either: Either
) -> None:
    run, attempt_id = await running(engine)
    store._lane.doubt({run.id: attempt_id})

    await store.apply((await submit(engine)).id, Cancel())

    again = await engine.get(ME, run.id)
    assert (again.state, again.attempt_id) == (RunState.QUEUED, None)
