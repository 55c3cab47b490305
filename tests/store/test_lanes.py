"""What any store promises of limits and order, tried through the engine's verbs."""

import asyncio

import msgspec
import pytest

from outlast.clock import FakeClock
from outlast.config import AgentConfig, Settings
from outlast.engine import Engine
from outlast.errors import SessionNotFound
from outlast.runs import Caller, Retry, Run, RunError, RunState
from outlast.store.lanes import Limits
from outlast.store.protocol import Page, Store
from outlast.transitions import Cause
from tests.runs_factory import ME, claim, new_run, submit

BROKE = RunError("agent_error", "no")


@pytest.fixture
def limits() -> Limits:
    """One run of a session at a time, one of agent `a`, three in all."""
    return Limits(session=1, agents={"a": 1}, tenant=3)


@pytest.fixture
def engine(store: Store, clock: FakeClock, limits: Limits) -> Engine:
    return Engine(store, clock, limits)


def one_by_one(store: Store, clock: FakeClock) -> Engine:
    """Sessions in order, and no other limit."""
    return Engine(store, clock, Limits(session=1))


async def all_claimed(engine: Engine, lease_s: float = 1000) -> list[Run]:
    return [claimed.run for claimed in await claim(engine, limit=100, lease_s=lease_s)]


async def blocked_by(engine: Engine, run: Run) -> str | None:
    return (await engine.get(ME, run.id)).blocked_by


async def finish(engine: Engine, run: Run) -> None:
    await engine.succeed(run, run.attempt_id or "", b"1")


async def worked_off(engine: Engine) -> list[str]:
    """The order in which runs start, each ended before the next claim."""
    order: list[str] = []
    while runs := await all_claimed(engine):
        for run in runs:
            order.append(run.id)
            await finish(engine, run)
    return order


async def test_a_session_goes_one_by_one_in_the_order_of_submit(store: Store, clock: FakeClock) -> None:
    engine = one_by_one(store, clock)
    runs = [await submit(engine, new_run(session_id="s")) for _ in range(5)]
    other = await submit(engine, new_run(session_id="t"))

    (first, beside) = await all_claimed(engine)

    assert (first.id, beside.id) == (runs[0].id, other.id)
    assert await blocked_by(engine, runs[1]) == "session:s"
    await finish(engine, first)
    assert await worked_off(engine) == [run.id for run in runs[1:]]


async def test_runs_submitted_in_one_commit_go_one_by_one_too(store: Store, clock: FakeClock) -> None:
    engine = one_by_one(store, clock)
    submitted = await asyncio.gather(*[engine.submit(ME, new_run(session_id="s")) for _ in range(20)])

    order = await worked_off(engine)

    assert order == sorted(one.run.id for one in submitted)


async def test_priority_is_a_head_start_in_the_lane(store: Store, clock: FakeClock) -> None:
    engine = one_by_one(store, clock)
    first = await submit(engine, new_run(session_id="s"))
    second = await submit(engine, new_run(session_id="s"))
    clock.advance(10)
    ahead = await submit(engine, new_run(session_id="s", priority_s=11))
    behind = await submit(engine, new_run(session_id="s", priority_s=9))

    assert await worked_off(engine) == [first.id, ahead.id, second.id, behind.id]


async def test_a_retry_and_a_lost_attempt_keep_their_turn(store: Store, clock: FakeClock) -> None:
    engine = one_by_one(store, clock)
    first = await submit(engine, new_run(session_id="s", retry=Retry(2, 60)))
    second = await submit(engine, new_run(session_id="s"))
    (run,) = await all_claimed(engine)
    await engine.lose(run.id, run.attempt_id or "", Cause.WORKER)
    (run,) = await all_claimed(engine)

    await engine.fail(run.id, run.attempt_id or "", BROKE, retryable=True)

    assert await all_claimed(engine) == []
    clock.advance(100)
    await engine.recover()
    assert await worked_off(engine) == [first.id, second.id]


async def test_a_waiting_run_keeps_its_turn(store: Store, clock: FakeClock) -> None:
    engine = one_by_one(store, clock)
    await submit(engine, new_run(session_id="s"))
    second = await submit(engine, new_run(session_id="s"))
    (run,) = await all_claimed(engine)

    await engine.suspend(run.id, run.attempt_id or "", "input", msgspec.Raw(b"{}"))

    assert await blocked_by(engine, second) == "session:s"
    await engine.wake(run.id)
    (again,) = await all_claimed(engine)
    assert again.id == run.id


async def test_a_run_for_later_takes_its_turn_when_its_time_has_come(store: Store, clock: FakeClock) -> None:
    engine = one_by_one(store, clock)
    later = await submit(engine, msgspec.structs.replace(new_run(session_id="s"), delay_ms=60_000))
    first = await submit(engine, new_run(session_id="s"))
    (run,) = await all_claimed(engine)
    assert run.id == first.id
    clock.advance(61)
    last = await submit(engine, new_run(session_id="s"))
    await engine.recover()

    assert await blocked_by(engine, later) == "session:s"
    await finish(engine, run)

    assert await worked_off(engine) == [later.id, last.id]


async def test_a_cancel_in_the_queue_lets_the_next_one_on(store: Store, clock: FakeClock) -> None:
    engine = one_by_one(store, clock)
    first, second, third = [await submit(engine, new_run(session_id="s")) for _ in range(3)]

    await engine.cancel(ME, second.id)
    await engine.cancel(ME, first.id)

    (run,) = await all_claimed(engine)
    assert run.id == third.id


async def test_a_cancelled_attempt_keeps_its_place_until_nothing_is_left_of_it(
    store: Store, clock: FakeClock
) -> None:
    engine = one_by_one(store, clock)
    await submit(engine, new_run(session_id="s"))
    second = await submit(engine, new_run(session_id="s"))
    (run,) = await all_claimed(engine)

    await engine.cancel(ME, run.id)
    await engine.delete(ME, run.id)

    assert await blocked_by(engine, second) == "session:s"
    await engine.reap(run.attempt_id or "")
    await engine.reap(run.attempt_id or "")
    assert [run.id for run in await all_claimed(engine)] == [second.id]


@pytest.mark.parametrize("lingers", [True, False])
async def test_a_failure_keeps_its_place_if_its_attempt_lingers(
    store: Store, clock: FakeClock, lingers: bool
) -> None:
    engine = one_by_one(store, clock)
    await submit(engine, new_run(session_id="s"))
    second = await submit(engine, new_run(session_id="s"))
    (run,) = await all_claimed(engine)

    await engine.fail(run.id, run.attempt_id or "", BROKE, lingers=lingers)

    assert await blocked_by(engine, second) == ("session:s" if lingers else None)
    await engine.reap(run.attempt_id or "")


async def test_places_left_with_a_worker_are_free_when_its_lease_ends(store: Store, clock: FakeClock) -> None:
    engine = one_by_one(store, clock)
    await submit(engine, new_run(session_id="s"))
    second = await submit(engine, new_run(session_id="s"))
    (run,) = await all_claimed(engine, lease_s=30)
    await engine.cancel(ME, run.id)
    clock.advance(29)
    await engine.recover()
    assert await blocked_by(engine, second) == "session:s"

    clock.advance(2)
    await engine.recover()

    assert await blocked_by(engine, second) is None


async def test_blocked_by_names_the_first_full_lane(engine: Engine) -> None:
    session = await submit(engine, new_run(session_id="s", agent="a"))
    agent = await submit(engine, new_run(session_id="t", agent="a"))
    in_session = await submit(engine, new_run(session_id="t", agent="b"))
    free = [await submit(engine, new_run(agent="b")) for _ in range(2)]
    full = await submit(engine, new_run(agent="b"))

    blocked = [await blocked_by(engine, run) for run in (session, agent, in_session, *free, full)]

    assert blocked == [None, "agent:a", "session:t", None, None, "tenant"]


async def test_a_freed_place_moves_a_run_on_to_the_next_full_lane(engine: Engine) -> None:
    first = await submit(engine, new_run(session_id="s", agent="a"))
    second = await submit(engine, new_run(session_id="s", agent="a"))
    other = await submit(engine, new_run(agent="a"))
    (run,) = await all_claimed(engine)
    assert run.id == first.id

    await finish(engine, run)

    assert [run.id for run in await all_claimed(engine)] == [other.id]
    assert await blocked_by(engine, second) == "agent:a"


async def test_never_more_than_the_limits_and_nobody_is_left_behind(engine: Engine) -> None:
    words = [("s", "a"), ("s", "b"), (None, "a"), ("t", None), (None, None), ("t", "a")]
    submits = [engine.submit(ME, new_run(session_id=s, agent=a)) for s, a in words * 4]
    submitted = {one.run.id for one in await asyncio.gather(*submits)}

    started: set[str] = set()
    while claimed := await all_claimed(engine):
        assert len(claimed) <= 3
        assert len([run for run in claimed if run.agent == "a"]) <= 1
        for session in ("s", "t"):
            assert len([run for run in claimed if run.session_id == session]) <= 1
        started |= {run.id for run in claimed}
        await asyncio.gather(*[finish(engine, run) for run in claimed])

    assert started == submitted


async def test_lanes_of_one_tenant_are_nothing_to_another(engine: Engine) -> None:
    other = Caller(tenant="other")
    await submit(engine, new_run(session_id="s", agent="a"))

    run = (await engine.submit(other, new_run(session_id="s", agent="a"))).run

    assert run.ready


def test_the_operators_limits_are_those_of_the_settings() -> None:
    agents = {"a": AgentConfig(function="m:f", max_running=2), "b": AgentConfig(function="m:f")}
    settings = Settings(session_concurrency=1, agents=agents)

    assert Limits.of(settings) == Limits(session=1, tenant=None, agents={"a": 2})


async def test_runs_without_limits_leave_no_trace_in_lanes(store: Store, clock: FakeClock) -> None:
    engine = Engine(store, clock, Limits(agents={"a": 1}))

    run = await submit(engine, new_run(session_id="s", agent="b"))

    assert (run.lanes, run.ready) == ("", True)


async def test_a_raised_limit_lets_runs_in_at_once_and_a_lowered_one_lets_them_finish(
    store: Store, clock: FakeClock
) -> None:
    engine = one_by_one(store, clock)
    runs = [await submit(engine, new_run(session_id="s")) for _ in range(6)]
    (first,) = await all_claimed(engine)

    await engine.sessions.limit(ME, "s", 3)

    two_more = await all_claimed(engine)
    assert [run.id for run in two_more] == [run.id for run in runs[1:3]]
    await engine.sessions.limit(ME, "s", None)
    await finish(engine, first)
    await finish(engine, two_more[0])
    assert await all_claimed(engine) == []
    await finish(engine, two_more[1])
    assert await worked_off(engine) == [run.id for run in runs[3:]]


async def test_a_session_that_is_limited_while_it_runs_lets_those_finish_that_have_begun(
    store: Store, clock: FakeClock
) -> None:
    engine = Engine(store, clock, Limits(agents={"a": 2}))
    begun = [await submit(engine, new_run(session_id="s", agent=agent)) for agent in ("a", "b")]
    running = await all_claimed(engine)
    later = await submit(engine, msgspec.structs.replace(new_run(session_id="s"), delay_ms=60_000))
    queued = [await submit(engine, new_run(session_id="s", agent=agent)) for agent in ("a", "a", "b")]
    other = await submit(engine, new_run(session_id="t", agent="a"))

    await engine.sessions.limit(ME, "s", 1)

    assert {run.id for run in running} == {run.id for run in begun}
    assert [await blocked_by(engine, run) for run in queued] == ["session:s"] * 3
    assert [run.id for run in await all_claimed(engine)] == [other.id], "the agent's place is free again"
    await finish(engine, running[0])
    assert await all_claimed(engine) == []
    await finish(engine, running[1])
    clock.advance(61)
    await engine.recover()
    assert await worked_off(engine) == [*(run.id for run in queued), later.id]


async def test_a_limit_can_be_set_before_the_first_run(store: Store, clock: FakeClock) -> None:
    engine = Engine(store, clock)
    with pytest.raises(SessionNotFound):
        await engine.sessions.find(ME, "s")

    session = await engine.sessions.limit(ME, "s", 1)

    assert (session.max_running, sum(session.counts.values())) == (1, 0)
    await submit(engine, new_run(session_id="s"))
    second = await submit(engine, new_run(session_id="s"))
    assert second.blocked_by == "session:s"


async def test_other_limits_at_the_next_start_count_for_those_who_wait(
    store: Store, clock: FakeClock
) -> None:
    before = Engine(store, clock, Limits(session=1, agents={"a": 1}, tenant=5))
    words = [("s", "a"), ("s", None), (None, "a")]
    for session, agent in words:
        await submit(before, new_run(session_id=session, agent=agent))
    assert len(await all_claimed(before)) == 1

    after = Engine(store, clock, Limits(session=2, tenant=5))
    await after.recover()

    assert len(await all_claimed(after)) == 2


async def test_sessions_are_listed_newest_first_with_their_counts(store: Store, clock: FakeClock) -> None:
    engine = Engine(store, clock)
    for name in ("a", "b", "c"):
        await submit(engine, new_run(session_id=name))
        clock.advance(1)
    await submit(engine, new_run(session_id="a"))
    (run, *_) = await all_claimed(engine)
    await finish(engine, run)

    listing = await engine.sessions.page(ME, Page(size=2))

    assert [it.id for it in listing.sessions] == ["c", "b"]
    assert (listing.total, listing.total_is_lower_bound) == (3, False)
    (last,) = (await engine.sessions.page(ME, Page(size=2, before="b"))).sessions
    assert (last.id, last.max_running) == ("a", None)
    assert {status.value: n for status, n in last.counts.items() if n} == {"running": 1, "succeeded": 1}


async def test_an_idempotent_repeat_takes_no_second_place(store: Store, clock: FakeClock) -> None:
    engine = one_by_one(store, clock)
    once = new_run(session_id="s", key="k")

    submitted = await asyncio.gather(*[engine.submit(ME, once) for _ in range(5)])

    assert {one.run.state for one in submitted} == {RunState.QUEUED}
    assert len(await worked_off(engine)) == 1
