"""What any store promises, tried through the engine's verbs."""

import asyncio
from collections import Counter

import msgspec
import pytest

from outlast.births import Idempotency, body_hash
from outlast.clock import FakeClock
from outlast.engine import Engine
from outlast.errors import Fenced, IdempotencyConflict, RunActive, RunFinished, RunNotFound, RunNotSucceeded
from outlast.runs import (
    Budget,
    Caller,
    Draft,
    EventKind,
    Isolation,
    Progress,
    Retry,
    RunError,
    RunState,
    RunStatus,
    Usage,
)
from outlast.store.protocol import INLINE_MAX, RECEIVER_SHARE, Offer, Page, RunFilter, Store
from outlast.transitions import Afford, Cause
from outlast.workers import WorkerCard
from tests.runs_factory import ME, WORKER, claim, new_run, running, submit

LOG = Draft(EventKind.LOG, b'{"message":"hello"}')


async def test_a_submitted_run_is_queued_with_its_first_event(engine: Engine) -> None:
    run = await submit(engine)

    assert (await engine.get(ME, run.id)).state is RunState.QUEUED
    assert [(e.seq, e.kind, e.data) for e in await engine.events(ME, run.id)] == [
        (1, EventKind.STATUS, b'{"status":"queued"}')
    ]


async def test_a_run_read_back_is_the_run_that_was_written(engine: Engine, store: Store) -> None:
    new = new_run(session_id="s", key="k", webhook_url="https://example.com", retry=Retry(3, 0.5), agent="a")

    run = await submit(engine, new)

    page = await store.list_runs("default", RunFilter(agent="a"), Page())
    assert page.runs == (run,)


async def test_a_finished_run_gives_its_result(engine: Engine) -> None:
    run, attempt_id = await running(engine)

    done = await engine.succeed(run, attempt_id, b'"42"')

    assert (done.state, done.progress.percentage, done.finished_at) == (
        RunState.SUCCEEDED,
        100,
        run.created_at,
    )
    assert await engine.result(ME, run.id) == (done, b'"42"')
    assert [e.kind for e in await engine.events(ME, run.id)] == ["status", "status", "complete"]


@pytest.mark.parametrize("size", [INLINE_MAX, INLINE_MAX + 1, 5_000_000])
async def test_requests_and_results_of_any_size_come_back_byte_for_byte(engine: Engine, size: int) -> None:
    prompt = "ü\n\"'\\" * (size // 6)
    run, attempt_id = await running(engine, new_run(prompt))
    result = msgspec.json.encode(prompt)

    await engine.succeed(run, attempt_id, result)

    assert (await engine.result(ME, run.id))[1] == result


async def test_a_large_request_reaches_the_worker(engine: Engine) -> None:
    await submit(engine, new_run("x" * 100_000))

    (claimed,) = await claim(engine)

    assert len(claimed.request) > 100_000


async def test_a_result_above_the_limit_fails_the_run(engine: Engine) -> None:
    run, attempt_id = await running(engine)

    ended = await engine.succeed(run, attempt_id, b'"' + b"x" * 32 * 1024 * 1024 + b'"')

    assert ended.error is not None
    assert ended.error.code == "result_too_large"


async def test_a_run_without_a_result_says_why(engine: Engine) -> None:
    run, attempt_id = await running(engine)
    with pytest.raises(RunNotSucceeded, match="is running"):
        await engine.result(ME, run.id)

    await engine.fail(run.id, attempt_id, RunError("agent_error", "it broke"))

    with pytest.raises(RunNotSucceeded, match="failed and has no result: it broke"):
        await engine.result(ME, run.id)


async def test_claims_come_in_queue_order_and_never_twice(engine: Engine, clock: FakeClock) -> None:
    first = await submit(engine)
    clock.advance(1)
    second = await submit(engine)
    ahead = await submit(engine, new_run(priority_s=60))

    claimed = await claim(engine, limit=10)

    assert [c.run.id for c in claimed] == [ahead.id, first.id, second.id]
    assert await claim(engine, limit=10) == []


async def test_only_offered_kinds_and_runners_are_claimed(engine: Engine) -> None:
    isolated = await submit(engine, new_run(kind=Isolation.ISOLATED))

    assert await claim(engine) == []
    assert await engine.claim(Offer(WORKER, Isolation.ISOLATED, frozenset({"other"}), 1)) == []
    (claimed,) = await engine.claim(Offer(WORKER, Isolation.ISOLATED, frozenset({"echo"}), 1))
    assert claimed.run.id == isolated.id


async def test_a_worker_claims_from_the_queues_it_serves(engine: Engine) -> None:
    run = await submit(engine)
    offer = Offer(WORKER, Isolation.SHARED, frozenset({"echo"}), 1, queues=frozenset({"slow", "night"}))
    await engine.beat(WORKER, 30)

    assert await engine.claim(offer) == []
    (claimed,) = await engine.claim(msgspec.structs.replace(offer, queues=frozenset({"default", "night"})))
    assert claimed.run.id == run.id


async def test_a_worker_is_seen_with_its_card_and_its_runs(engine: Engine, clock: FakeClock) -> None:
    card = WorkerCard(name="w1", host="here", pid=7, queues=("default",), shared=5)
    assert await engine.beat(WORKER, 30, card)
    run, attempt_id = await running(engine)
    assert await engine.beat(WORKER, 30, card)

    (seen,) = await engine.workers()

    assert (seen.id, seen.card, seen.runs, seen.is_live) == (WORKER, card, (run.id,), True)
    assert seen.lease_until == seen.started_at + 30_000
    assert await engine.held(WORKER) == {attempt_id}
    assert await engine.held("another") == frozenset()
    clock.advance(31)
    await engine.recover()
    (lost,) = await engine.workers()
    assert (lost.is_live, lost.runs) == (False, ())


async def test_a_worker_is_seen_with_the_askers_runs_and_all_its_places(engine: Engine) -> None:
    run, _ = await running(engine)
    await engine.submit(Caller("another"), new_run(kind=Isolation.ISOLATED))
    assert await engine.claim(Offer(WORKER, Isolation.ISOLATED, frozenset({"echo"}), 1))

    (seen,) = await engine.workers(ME)
    (others,) = await engine.workers(Caller("nobody"))

    assert (seen.runs, others.runs) == ((run.id,), ())
    assert (seen.shared_taken, seen.isolated_taken) == (others.shared_taken, others.isolated_taken) == (1, 1)


async def test_event_numbers_of_many_runs_are_asked_for_at_once(engine: Engine, store: Store) -> None:
    started, _ = await running(engine)
    queued = await submit(engine)

    assert await store.seqs([queued.id, started.id, "run_unknown"]) == {queued.id: 1, started.id: 2}


async def test_events_are_numbered_without_gaps_under_concurrency(engine: Engine) -> None:
    run, attempt_id = await running(engine)

    await asyncio.gather(*[engine.append(run.id, attempt_id, [LOG, LOG]) for _ in range(50)])

    events = await engine.events(ME, run.id)
    assert [e.seq for e in events] == list(range(1, 103))
    assert [e.seq for e in await engine.events(ME, run.id, after=100)] == [101, 102]


async def test_what_a_run_has_logged_is_counted_over_its_attempts(engine: Engine) -> None:
    run, attempt_id = await running(engine)
    assert await engine.logged_bytes(run.id) == 0

    await engine.append(run.id, attempt_id, [LOG, LOG, Draft(EventKind.MODEL_CALL, b"{}")])
    await engine.hand_back(run.id, attempt_id)
    (claimed,) = await claim(engine)
    await engine.append(run.id, claimed.run.attempt_id or "", [LOG])

    assert await engine.logged_bytes(run.id) == 3 * len(LOG.data)


async def test_a_late_attempt_changes_nothing(engine: Engine) -> None:
    run, attempt_id = await running(engine)
    await engine.lose(run.id, attempt_id, Cause.WORKER)
    (again,) = await claim(engine)

    with pytest.raises(Fenced):
        await engine.append(run.id, attempt_id, [LOG])
    with pytest.raises(Fenced):
        await engine.succeed(run, attempt_id, b"1")

    assert await engine.get(ME, run.id) == again.run


async def test_only_one_of_many_racing_outcomes_counts(engine: Engine) -> None:
    run, attempt_id = await running(engine)

    outcomes = await asyncio.gather(
        engine.cancel(ME, run.id),
        engine.succeed(run, attempt_id, b"1"),
        engine.fail(run.id, attempt_id, RunError("agent_error", "no")),
        return_exceptions=True,
    )

    assert len([o for o in outcomes if not isinstance(o, Exception)]) == 1
    assert [e.kind for e in await engine.events(ME, run.id)].count(EventKind.COMPLETE) == 1


async def test_a_refused_write_leaves_those_that_shared_its_commit(engine: Engine) -> None:
    run, attempt_id = await running(engine)

    outcomes = await asyncio.gather(
        engine.append(run.id, "att_of_nobody", [LOG]),
        engine.append(run.id, attempt_id, [LOG]),
        engine.cancel(ME, "run_unknown"),
        return_exceptions=True,
    )

    assert [type(o).__name__ for o in outcomes] == ["Fenced", "Run", "RunNotFound"]
    assert len(await engine.events(ME, run.id)) == 3


async def test_a_cancelled_run_is_final_at_once(engine: Engine) -> None:
    run, attempt_id = await running(engine)

    cancelled = await engine.cancel(ME, run.id)

    assert (cancelled.state, cancelled.attempt_id) == (RunState.CANCELLED, None)
    with pytest.raises(Fenced):
        await engine.append(run.id, attempt_id, [LOG])
    with pytest.raises(RunFinished, match="a finished run cannot be cancelled"):
        await engine.cancel(ME, run.id)


async def test_a_cancel_tells_the_attempt(engine: Engine) -> None:
    run, attempt_id = await running(engine)
    told: list[str] = []
    engine.wakeups.guard(attempt_id, lambda taken: told.append(taken.id))

    await engine.cancel(ME, run.id)

    assert told == [run.id]


async def test_a_cancel_before_the_attempt_listens_is_told_all_the_same(engine: Engine) -> None:
    run, attempt_id = await running(engine)
    told: list[str] = []

    await engine.cancel(ME, run.id)
    engine.wakeups.guard(attempt_id, lambda taken: told.append(taken.id))

    assert told == [run.id]


async def test_delete_removes_a_finished_run_only(engine: Engine) -> None:
    run = await submit(engine, new_run(key="k", session_id="s"))
    with pytest.raises(RunActive):
        await engine.delete(ME, run.id)
    await engine.cancel(ME, run.id)

    await engine.delete(ME, run.id)

    with pytest.raises(RunNotFound):
        await engine.get(ME, run.id)
    assert (await submit(engine, new_run(key="k", body=b"another"))).id != run.id


async def test_another_tenants_run_is_not_found(engine: Engine) -> None:
    run = await submit(engine)
    other = Caller(tenant="other")

    for verb in (engine.get, engine.cancel, engine.delete, engine.result, engine.events):
        with pytest.raises(RunNotFound):
            await verb(other, run.id)
    assert (await engine.list_runs(other, RunFilter(), Page())).total == 0


async def test_the_same_key_and_body_give_the_same_run(engine: Engine) -> None:
    submitted = await asyncio.gather(*[engine.submit(ME, new_run(key="k")) for _ in range(20)])
    later = await engine.submit(ME, new_run(key="k"))

    assert len({s.run.id for s in [*submitted, later]}) == 1
    assert [s.replayed for s in submitted].count(False) == 1
    assert later.replayed


async def test_the_same_key_with_another_body_is_a_conflict_that_names_the_run(engine: Engine) -> None:
    run = await submit(engine, new_run(key="k"))

    with pytest.raises(IdempotencyConflict) as refused:
        await engine.submit(ME, new_run(key="k", body=b"another"))

    assert refused.value.run_id == run.id
    with pytest.raises(IdempotencyConflict):
        await engine.replay(ME, Idempotency("k", "", b"another"))
    assert await engine.replay(ME, Idempotency("k", "", b"same")) == run
    assert await engine.replay(ME, Idempotency("k", "session", b"same")) is None


def test_the_hash_of_a_body_ignores_order_nulls_and_keys() -> None:
    one = body_hash({"prompt": "p", "timeout": 5, "session_id": None})

    assert one == body_hash(
        {"idempotency_key": "k", "timeout": 5, "prompt": "p", "idempotency_scope": "global"}
    )
    assert one != body_hash({"prompt": "p", "timeout": 6})


async def test_a_run_lost_with_its_worker_goes_back_to_the_queue(engine: Engine, clock: FakeClock) -> None:
    run, _ = await running(engine)
    clock.advance(31)

    await engine.recover()

    queued = await engine.get(ME, run.id)
    assert (queued.state, queued.executed_ms, queued.lost) == (RunState.QUEUED, 30_000, 0)
    assert not await engine.beat(WORKER, 30)
    (again,) = await claim(engine, worker="worker_2")
    assert again.run.attempt == 2


async def test_a_live_lease_keeps_its_runs(engine: Engine, clock: FakeClock) -> None:
    run, _ = await running(engine)
    clock.advance(29)
    assert await engine.beat(WORKER, 30)
    clock.advance(29)

    await engine.recover()

    assert (await engine.get(ME, run.id)).state is RunState.RUNNING


async def test_time_runs_out_over_all_attempts(engine: Engine, clock: FakeClock) -> None:
    run, attempt_id = await running(engine, new_run(timeout_s=10))
    clock.advance(6)
    await engine.lose(run.id, attempt_id, Cause.WORKER)
    clock.advance(100)
    (again,) = await claim(engine, worker="worker_2")
    clock.advance(4)

    ended = await engine.lose(run.id, again.run.attempt_id or "", Cause.WORKER)

    assert ended.error is not None
    assert (ended.error.code, ended.executed_ms) == ("timeout", 10_000)


async def test_an_attempt_that_dies_three_times_fails_its_run(engine: Engine) -> None:
    run = await submit(engine)
    for _ in range(3):
        (claimed,) = await claim(engine)
        await engine.lose(run.id, claimed.run.attempt_id or "", Cause.OWN_PROCESS)
    ended = await engine.get(ME, run.id)

    assert ended.error is not None
    assert (ended.state, ended.error.code, ended.attempt) == (RunState.FAILED, "worker_lost", 3)


async def test_a_retry_waits_for_its_time(engine: Engine, clock: FakeClock) -> None:
    run, attempt_id = await running(engine, new_run(retry=Retry(max_attempts=2, backoff_s=5)))
    broke = RunError("agent_error", "no")
    await engine.fail(run.id, attempt_id, broke, retryable=True)
    await engine.recover()
    assert await claim(engine) == []
    clock.advance(6)  # 5 s and its share of chance

    await engine.recover()

    (again,) = await claim(engine)
    ended = await engine.fail(run.id, again.run.attempt_id or "", broke, retryable=True)
    assert (ended.state, ended.error) == (RunState.FAILED, broke)


async def test_a_delayed_run_is_ready_at_its_time_and_ordered_by_it(engine: Engine, clock: FakeClock) -> None:
    later = await submit(engine, msgspec.structs.replace(new_run(), run_at=clock.now() + 5000))
    sooner = await submit(engine, msgspec.structs.replace(new_run(), delay_ms=3000))
    clock.advance(4)
    between = await submit(engine)
    assert await engine.next_due_at() == sooner.due_at
    assert [c.run.id for c in await claim(engine, limit=10)] == [between.id]
    clock.advance(1)
    last = await submit(engine)

    await engine.recover()

    assert await engine.next_due_at() is None
    assert [c.run.id for c in await claim(engine, limit=10)] == [sooner.id, later.id, last.id]


async def test_runs_are_listed_by_the_schedule_that_made_them(engine: Engine) -> None:
    mine = await submit(engine, msgspec.structs.replace(new_run(), schedule_id="sch_1"))
    await submit(engine, msgspec.structs.replace(new_run(), schedule_id="sch_2"))
    await submit(engine)

    found = await engine.list_runs(ME, RunFilter(schedule_id="sch_1"), Page())

    assert (found.runs, found.total) == ((mine,), 1)


async def test_progress_and_usage_are_kept_in_the_head(engine: Engine) -> None:
    run, attempt_id = await running(engine)
    half = Progress(50, "two", 1, 2)

    await engine.append(run.id, attempt_id, [], half)
    await engine.record_call(
        run.id, attempt_id, Usage(1, 10, 20, 2**62, 0), Draft(EventKind.MODEL_CALL, b"{}")
    )
    head = await engine.record_call(
        run.id, attempt_id, Usage(1, 1, 2, 0, 1), Draft(EventKind.MODEL_CALL, b"{}")
    )

    assert (head.progress, head.usage, head.unproven) == (half, Usage(2, 11, 22, 2**62, 1), 0)


async def test_a_waiting_run_is_shown_as_running_and_woken(engine: Engine) -> None:
    run, attempt_id = await running(engine)

    waiting = await engine.suspend(run.id, attempt_id, "input", msgspec.Raw(b'{"question":"?"}'))

    assert (waiting.state, waiting.status, waiting.attempt_id) == (RunState.WAITING, RunStatus.RUNNING, None)
    assert (await engine.list_runs(ME, RunFilter(status=RunStatus.RUNNING), Page())).runs == (waiting,)
    assert (await engine.wake(run.id)).state is RunState.QUEUED


async def test_a_run_waits_for_its_budget_until_it_is_given_more(engine: Engine) -> None:
    new = msgspec.structs.replace(new_run(), budget=Budget(max_cost_nano_usd=2**62, max_tokens=30))
    run, attempt_id = await running(engine, new)
    await engine.record_call(run.id, attempt_id, Usage(1, 10, 20), Draft(EventKind.MODEL_CALL, b"{}"))
    waiting = await engine.suspend(run.id, attempt_id, "budget", msgspec.Raw(b"{}"))

    assert (waiting.state, waiting.budget) == (RunState.WAITING, Budget(2**62, 30))
    assert (await engine.afford(ME, run.id, Afford(max_tokens=29))).state is RunState.WAITING
    assert (await engine.afford(ME, run.id, Afford(None, 31))).state is RunState.QUEUED
    ((again, _),) = [(c.run, c) for c in await claim(engine)]
    assert (again.id, again.budget) == (run.id, Budget(max_tokens=31))
    with pytest.raises(RunNotFound):
        await engine.afford(Caller("another"), run.id, Afford())


async def test_a_finished_run_owes_its_webhook_until_it_is_settled(engine: Engine, clock: FakeClock) -> None:
    run, attempt_id = await running(engine, new_run(webhook_url="https://example.com/hook", session_id="s"))
    await engine.succeed(run, attempt_id, b'"done"')
    await engine.delete(ME, run.id)

    (delivery,) = await engine.outbox.take(10)
    assert (delivery.notice.url, delivery.tries) == ("https://example.com/hook", 0)
    assert delivery.notice.result is not None
    assert await engine.bodies.read("default", delivery.notice.result) == b'"done"'
    assert msgspec.json.decode(delivery.notice.head)["status"] == "succeeded"
    assert await engine.outbox.take(10) == []

    await engine.outbox.settle(delivery.notice.id, retry_at=clock.now() + 5000)
    assert await engine.outbox.next_at() == clock.now() + 5000
    clock.advance(5)
    (again,) = await engine.outbox.take(10)
    assert (again.notice.id, again.tries) == (delivery.notice.id, 1)
    await engine.outbox.settle(again.notice.id)
    assert await engine.outbox.next_at() is None


async def _owe(engine: Engine, host: str, notices: int) -> None:
    for _ in range(notices):
        run = await submit(engine, new_run(webhook_url=f"https://user@{host}/hook?a=1"))
        await engine.cancel(ME, run.id)


async def test_a_backlog_for_one_receiver_leaves_the_others_their_turn(
    engine: Engine, clock: FakeClock
) -> None:
    await _owe(engine, "A.example", RECEIVER_SHARE + 5)
    clock.advance(1)
    await _owe(engine, "b.example:8443", 2)

    claimed = Counter(d.notice.receiver for d in await engine.outbox.take(100))

    assert claimed == {"a.example": RECEIVER_SHARE, "b.example:8443": 2}


async def test_a_busy_receivers_notices_are_left_alone(engine: Engine, clock: FakeClock) -> None:
    await _owe(engine, "a.example", 2)
    clock.advance(1)
    await _owe(engine, "b.example", 1)

    assert await engine.outbox.next_at(["a.example"]) == clock.now()
    assert await engine.outbox.next_at(["a.example", "b.example"]) is None
    assert [d.notice.receiver for d in await engine.outbox.take(100, ["a.example"])] == ["b.example"]
    assert await engine.outbox.next_at(["b.example"]) == clock.now() - 1000


async def test_claimed_notices_are_the_oldest_of_all_receivers(engine: Engine, clock: FakeClock) -> None:
    for host in ("z.example", "a.example", "m.example"):
        await _owe(engine, host, 1)
        clock.advance(1)

    claimed = {d.notice.receiver for d in await engine.outbox.take(2)}

    assert claimed == {"z.example", "a.example"}


async def test_a_list_is_newest_first_and_counts_exactly(engine: Engine) -> None:
    runs = [await submit(engine, new_run(session_id="s" if n % 2 else None)) for n in range(7)]
    await engine.cancel(ME, runs[1].id)
    ids = [run.id for run in reversed(runs)]

    page = await engine.list_runs(ME, RunFilter(), Page(size=3))
    assert ([run.id for run in page.runs], page.total) == (ids[:3], 7)
    page = await engine.list_runs(ME, RunFilter(), Page(size=3, offset=3))
    assert [run.id for run in page.runs] == ids[3:6]
    page = await engine.list_runs(ME, RunFilter(), Page(size=3, before=ids[4]))
    assert [run.id for run in page.runs] == ids[5:]
    page = await engine.list_runs(ME, RunFilter(session_id="s", status=RunStatus.QUEUED), Page())
    assert ([run.id for run in page.runs], page.total) == ([runs[5].id, runs[3].id], 2)
    page = await engine.list_runs(ME, RunFilter(framework="echo", status=RunStatus.CANCELLED), Page())
    assert ([run.id for run in page.runs], page.total) == ([runs[1].id], 1)
    assert await engine.counts(ME) == {"queued": 6, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 1}


async def test_a_watch_hears_every_event_in_order(engine: Engine) -> None:
    run = await submit(engine)
    with engine.watch(run.id) as watch:
        (claimed,) = await claim(engine)
        await engine.succeed(claimed.run, claimed.run.attempt_id or "", b"1")

        assert await watch.wait(5)
        assert [e.seq for e in watch.take_events()] == [2, 3]
        assert watch.run is not None
        assert watch.run.is_final


async def test_waiting_for_a_run_ends_with_the_run(engine: Engine) -> None:
    run = await submit(engine)
    waiting = asyncio.create_task(engine.wait(ME, run.id, 60))
    await asyncio.sleep(0)

    await engine.cancel(ME, run.id)

    assert (await waiting).state is RunState.CANCELLED
