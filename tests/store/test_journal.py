"""What any store promises about the journals of its runs."""

import msgspec
import pytest

from outlast.births import Idempotency
from outlast.clock import FakeClock
from outlast.engine import Engine
from outlast.errors import Fenced, RunActive, RunNotFound
from outlast.journal import Journal, Pin
from outlast.runs import JournalMode, Retry, Run, RunError
from outlast.store.protocol import INLINE_MAX, Page, RunFilter, Store
from outlast.transitions import Cause
from tests.journal_factory import canonical, finished, noise, record
from tests.runs_factory import ME, WORKER, claim, new_run, running
from tests.store.conftest import Either

NOISE = noise(2 * INLINE_MAX)
NO = RunError("agent_error", "It broke.")


async def journal(engine: Engine, run: Run) -> Journal:
    return await engine.journals.read(run.id, run.generation)


async def kept(engine: Engine, run: Run) -> list[bytes]:
    """The requests in the journal of the run's generation."""
    found = await journal(engine, run)
    return [await engine.journals.asked(run.tenant, call) for call in found.calls]


async def claimed_again(engine: Engine, clock: FakeClock) -> Run:
    clock.advance(10)
    await engine.recover()
    (claimed,) = await claim(engine)
    return claimed.run


async def test_a_kept_call_comes_back_with_its_request_its_answer_and_its_pins(engine: Engine) -> None:
    run, _ = await running(engine)
    pins = (Pin("call_1", 1, b'"12:01"'), Pin("call_\0" + "x" * 4000, 2, b'["a",{"b":1}]'))
    one, two = finished("a"), finished("a", "b", answer=b"data: 1\n\n", pins=pins)
    two = msgspec.structs.replace(two, links=two.links[1:])

    await record(engine, run, one)
    head = await record(engine, run, two)

    found = await journal(engine, run)
    assert [(call.key, call.seq, call.asked) for call in found.calls] == [
        (one.key, 3, one.asked),
        (two.key, 4, two.asked),
    ]
    assert set(found.pins) == set(pins)
    assert await kept(engine, run) == [canonical("a"), canonical("a", "b")]
    assert await engine.journals.answered(run.id, 1, two.key) == two.answered
    assert (head.usage.model_calls, head.seq) == (2, 4)


async def test_a_call_that_is_not_kept_has_no_answer(engine: Engine) -> None:
    run, _ = await running(engine)

    assert await journal(engine, run) == Journal()
    assert await engine.journals.answered(run.id, 1, finished("a").key) is None


async def test_a_fenced_attempt_keeps_nothing(engine: Engine) -> None:
    run, attempt_id = await running(engine)
    await engine.lose(run.id, attempt_id, Cause.OWN_PROCESS)

    with pytest.raises(Fenced):
        await record(engine, run, finished("a", pins=(Pin("c", 1, b"1"),)))

    assert await journal(engine, run) == Journal()


async def test_the_first_of_equal_calls_stays(engine: Engine) -> None:
    run, _ = await running(engine)
    first = finished("a", pins=(Pin("c", 1, b"1"),))
    await record(engine, run, first)

    head = await record(engine, run, finished("a", answer=b"other", pins=(Pin("c", 1, b"2"),)))

    found = await journal(engine, run)
    assert [call.seq for call in found.calls] == [3]
    assert found.pins == first.pins
    assert await engine.journals.answered(run.id, 1, first.key) == first.answered
    assert head.usage.model_calls == 2


async def test_what_is_large_comes_back_byte_for_byte(engine: Engine) -> None:
    run, _ = await running(engine)
    text = msgspec.json.encode(NOISE)
    call = finished("short", NOISE, answer=text, pins=(Pin("c", 1, text),))

    await record(engine, run, call)

    assert await kept(engine, run) == [canonical("short", NOISE)]
    assert (await journal(engine, run)).pins == call.pins
    assert await engine.journals.answered(run.id, 1, call.key) == call.answered


@pytest.mark.parametrize("end", ["lose", "hand_back", "suspend"])
async def test_a_run_that_goes_on_keeps_its_journal(engine: Engine, clock: FakeClock, end: str) -> None:
    run, attempt_id = await running(engine)
    await record(engine, run, finished("a"))

    match end:
        case "lose":
            await engine.lose(run.id, attempt_id, Cause.WORKER)
        case "hand_back":
            await engine.hand_back(run.id, attempt_id)
        case _:
            await engine.suspend(run.id, attempt_id, "input", msgspec.Raw(b"{}"))
            await engine.wake(run.id)

    again = await claimed_again(engine, clock)
    assert await kept(engine, again) == [canonical("a")]


async def test_a_retry_asks_the_last_answered_call_again(engine: Engine, clock: FakeClock) -> None:
    run, attempt_id = await running(engine, new_run(retry=Retry(2, 1)))
    for call in (finished("a"), finished("b"), finished("c", status=400)):
        await record(engine, run, call)

    await engine.fail(run.id, attempt_id, NO, retryable=True)

    again = await claimed_again(engine, clock)
    assert await kept(engine, again) == [canonical("a"), canonical("c")]


async def test_a_fresh_retry_finds_an_empty_journal(engine: Engine, clock: FakeClock) -> None:
    run, attempt_id = await running(engine, new_run(retry=Retry(2, 1, JournalMode.FRESH)))
    await record(engine, run, finished("a"))

    await engine.fail(run.id, attempt_id, NO, retryable=True)

    again = await claimed_again(engine, clock)
    assert again.generation == 2
    assert await journal(engine, again) == Journal()
    await record(engine, again, finished("a"))
    assert await kept(engine, again) == [canonical("a")]


async def test_a_failure_that_is_final_keeps_the_journal(engine: Engine) -> None:
    run, attempt_id = await running(engine)
    await record(engine, run, finished("a"))

    await engine.fail(run.id, attempt_id, NO, retryable=True)

    assert await kept(engine, run) == [canonical("a")]


async def forked(engine: Engine, old: Run, mode: JournalMode = JournalMode.RESUME) -> Run:
    """A fork of a finished run, claimed."""
    fork = (await engine.retry(ME, old.id, mode)).run
    (claimed,) = await claim(engine)
    assert claimed.run.id == fork.id
    return claimed.run


async def test_a_fork_is_a_new_run_of_the_same_request(engine: Engine, store: Store) -> None:
    new = new_run("x" * 100_000, session_id="s", agent="a", key="k", retry=Retry(2, 1), priority_s=5)
    old, attempt_id = await running(engine, new)
    await engine.succeed(old, attempt_id, b"1")

    fork = (await engine.retry(ME, old.id, JournalMode.RESUME)).run

    assert (fork.forked_from, fork.state, fork.attempt, fork.generation) == (old.id, "queued", 0, 1)
    same = (
        "runner",
        "framework",
        "kind",
        "session_id",
        "agent",
        "retry",
        "priority_s",
        "timeout_s",
        "metadata",
    )
    assert [getattr(fork, name) for name in same] == [getattr(old, name) for name in same]
    assert fork.idempotency_key is None
    assert await store.request(fork.id) == await store.request(old.id)
    assert await engine.get(ME, fork.id) == fork
    assert (await engine.get(ME, old.id)).state == "succeeded"


async def test_a_fork_of_a_failed_run_asks_the_last_answered_call_again(engine: Engine) -> None:
    old, attempt_id = await running(engine)
    pins = (Pin("c", 1, b"1"),)
    for call in (finished("a"), finished("b", pins=pins), finished("c", status=400)):
        await record(engine, old, call)
    await engine.fail(old.id, attempt_id, NO)

    fork = await forked(engine, old)

    found = await journal(engine, fork)
    assert await kept(engine, fork) == [canonical("a"), canonical("c")]
    assert [call.seq for call in found.calls] == [3 - 6, 5 - 6]
    assert found.pins == pins
    assert await engine.journals.answered(fork.id, 1, finished("a").key) == finished("a").answered
    assert await kept(engine, old) == [canonical("a"), canonical("b"), canonical("c")]
    await record(engine, fork, finished("d"))
    assert await kept(engine, fork) == [canonical("a"), canonical("c"), canonical("d")]


@pytest.mark.parametrize("end", ["cancelled", "timeout", "worker_lost", "succeeded"])
async def test_a_fork_of_a_run_that_did_not_fail_by_itself_has_all_of_its_journal(
    engine: Engine, end: str
) -> None:
    old, attempt_id = await running(engine)
    await record(engine, old, finished("a"))
    match end:
        case "cancelled":
            await engine.cancel(ME, old.id)
            await engine.reap(attempt_id)
        case "succeeded":
            await engine.succeed(old, attempt_id, b"1")
        case code:
            await engine.fail(old.id, attempt_id, RunError(code, "It was cut off."))

    assert await kept(engine, await forked(engine, old)) == [canonical("a")]


async def test_a_fork_may_begin_afresh(engine: Engine) -> None:
    old, attempt_id = await running(engine)
    await record(engine, old, finished("a"))
    await engine.succeed(old, attempt_id, b"1")

    fork = await forked(engine, old, JournalMode.FRESH)

    assert await journal(engine, fork) == Journal()
    assert fork.forked_from == old.id


async def test_a_fork_of_a_fork_keeps_the_order_of_the_calls(engine: Engine) -> None:
    run, _ = await running(engine)
    for text in "abc":
        await record(engine, run, finished(text))
        await engine.cancel(ME, run.id)
        run = await forked(engine, run)

    assert await kept(engine, run) == [canonical(text) for text in "abc"]


async def test_a_fork_outlives_the_run_it_came_from(engine: Engine, clock: FakeClock, either: Either) -> None:
    old, attempt_id = await running(engine)
    await record(engine, old, finished("a", "b", answer=NOISE.encode()))
    await engine.succeed(old, attempt_id, b"1")
    fork = await forked(engine, old)
    await engine.cancel(ME, fork.id)

    await engine.delete(ME, old.id)
    await sweep(engine, clock)

    assert await kept(engine, fork) == [canonical("a", "b")]
    answered = await engine.journals.answered(fork.id, 1, finished("a", "b").key)
    assert answered is not None
    assert answered.body == NOISE.encode()


async def test_a_run_that_goes_on_cannot_be_forked(engine: Engine) -> None:
    run, _ = await running(engine)

    with pytest.raises(RunActive, match="cancel it or let it end"):
        await engine.retry(ME, run.id, JournalMode.RESUME)


async def test_a_run_that_is_deleted_meanwhile_has_no_fork(
    engine: Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, attempt_id = await running(engine)
    await engine.succeed(old, attempt_id, b"1")
    request = store.request

    async def then_deleted(run_id: str) -> bytes | None:
        found = await request(run_id)
        await engine.delete(ME, run_id)
        return found

    monkeypatch.setattr(store, "request", then_deleted)

    with pytest.raises(RunNotFound):
        await engine.retry(ME, old.id, JournalMode.RESUME)

    assert (await engine.list_runs(ME, RunFilter(), Page())).runs == ()


async def test_a_fork_under_a_key_is_made_once(engine: Engine) -> None:
    old, attempt_id = await running(engine)
    await record(engine, old, finished("a"))
    await engine.succeed(old, attempt_id, b"1")
    key = Idempotency("k", "", b"same")

    first = await engine.retry(ME, old.id, JournalMode.RESUME, key)
    second = await engine.retry(ME, old.id, JournalMode.RESUME, key)

    assert (second.run.id, first.replayed, second.replayed) == (first.run.id, False, True)


async def sweep(engine: Engine, clock: FakeClock) -> None:
    """All of every table, and once more."""
    clock.advance(3601)
    for _ in range(4):
        await engine.recover()


async def rows(either: Either) -> dict[str, int]:
    """How many rows each table of the journal has."""
    return {table: await either.count(table) for table in ("calls", "pins", "links", "blobs")}


async def test_what_a_deleted_run_leaves_is_swept_and_what_others_use_is_not(
    engine: Engine, clock: FakeClock, either: Either
) -> None:
    first, attempt_id = await running(engine)
    pin = Pin("c", 1, msgspec.json.encode(NOISE))
    await record(engine, first, finished("common", "a", "b", NOISE, answer=NOISE.encode(), pins=(pin,)))
    await engine.succeed(first, attempt_id, b"1")
    second, second_attempt = await running(engine)
    await record(engine, second, finished("common", "x"))
    await engine.succeed(second, second_attempt, b"1")
    assert await rows(either) == {"calls": 2, "pins": 1, "links": 6, "blobs": 3}

    await engine.delete(ME, first.id)
    await sweep(engine, clock)

    assert await rows(either) == {"calls": 1, "pins": 0, "links": 3, "blobs": 0}
    assert await kept(engine, second) == [canonical("common", "x")]


async def test_what_is_young_or_used_again_is_not_swept(
    engine: Engine, clock: FakeClock, either: Either, store: Store
) -> None:
    first, attempt_id = await running(engine)
    await record(engine, first, finished("a", "b"))
    await engine.succeed(first, attempt_id, b"1")
    await engine.delete(ME, first.id)
    await store.recover()
    assert (await rows(either))["links"] == 3

    second, _ = await running(engine)
    assert await engine.beat(WORKER, 10_000)
    clock.advance(3601)
    await record(engine, second, finished("a", "b"))
    for _ in range(4):
        await store.recover()

    assert await kept(engine, second) == [canonical("a", "b")]
