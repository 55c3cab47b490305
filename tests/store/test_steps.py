"""What any store promises of the steps of runs, tried through the engine's verbs."""

import asyncio

import msgspec
import pytest

from outlast.clock import FakeClock
from outlast.engine import Engine
from outlast.errors import (
    BodyTooLarge,
    Fenced,
    Refused,
    RunNotFound,
    StepMismatch,
    StepNotBegun,
    StepNotFound,
    StepNotWaiting,
)
from outlast.journal import Fork
from outlast.runs import Caller, EventKind, JournalMode, Retry, Run, RunError, RunState
from outlast.steps import INPUT_MAX, Answer, Done, Effect, Failed, Go, StepState, Unsure
from outlast.store.protocol import INLINE_MAX, Page, Store, Submit
from outlast.tool_journal import RESULT_MAX
from outlast.transitions import Cause
from tests.runs_factory import ME, claim, new_run, running, submit
from tests.store.conftest import Either

READ, IDEMPOTENT, ONCE = Effect


async def again(engine: Engine) -> str:
    """The attempt that takes up the only run there is."""
    (claimed,) = await claim(engine)
    assert claimed.run.attempt_id is not None
    return claimed.run.attempt_id


async def lost(engine: Engine, run: Run, attempt_id: str) -> str:
    """The attempt after one whose worker died."""
    await engine.lose(run.id, attempt_id, Cause.WORKER)
    return await again(engine)


async def unsure(engine: Engine) -> Run:
    """A run that waits for a person, because an attempt died over its step `pay`."""
    run, first = await running(engine)
    await engine.steps.begin(run.id, first, "pay", "pay", ONCE, b'{"euros":5}')
    second = await lost(engine, run, first)
    assert await engine.steps.begin(run.id, second, "pay", "pay", ONCE, b'{"euros":5}') == Unsure()
    return await engine.get(ME, run.id)


async def told(engine: Engine, run: Run) -> list[object]:
    """What the run's events tell of its steps."""
    events = await engine.events(ME, run.id)
    return [msgspec.json.decode(e.data) for e in events if e.kind is EventKind.STEP]


@pytest.mark.parametrize("effect", Effect)
async def test_a_finished_step_is_given_back_to_later_attempts(engine: Engine, effect: Effect) -> None:
    run, first = await running(engine)
    assert isinstance(await engine.steps.begin(run.id, first, "a", "search", effect), Go)
    await engine.steps.end(run.id, first, "a", b'{"found":3}')

    second = await lost(engine, run, first)

    assert await engine.steps.begin(run.id, second, "a", "search", effect) == Done(b'{"found":3}')
    assert await told(engine, run) == [
        {"step": "a", "name": "search", "state": "done", "ms": 0},
        {"step": "a", "name": "search", "state": "done", "ms": 0, "replayed": True},
    ]


@pytest.mark.parametrize("size", [INLINE_MAX, INLINE_MAX + 1])
async def test_results_of_any_size_come_back_byte_for_byte(engine: Engine, size: int) -> None:
    run, attempt_id = await running(engine)
    await engine.steps.begin(run.id, attempt_id, "a", "search", READ)
    result = b'"%s"' % (b"x" * (size - 2))

    await engine.steps.end(run.id, attempt_id, "a", result)

    assert await engine.steps.begin(run.id, attempt_id, "a", "search", READ) == Done(result)
    assert (await engine.steps.find(ME, run.id, "a"))[1] == result


async def test_a_result_above_the_limit_is_refused(engine: Engine) -> None:
    run, attempt_id = await running(engine)
    await engine.steps.begin(run.id, attempt_id, "a", "search", READ)

    with pytest.raises(BodyTooLarge, match="the most a step may return is"):
        await engine.steps.end(run.id, attempt_id, "a", b" " * (RESULT_MAX + 1))


@pytest.mark.parametrize("effect", [READ, IDEMPOTENT])
async def test_a_step_in_flight_is_done_again_under_the_same_idempotency_key(
    engine: Engine, effect: Effect
) -> None:
    run, first = await running(engine)
    before = await engine.steps.begin(run.id, first, "a", "search", effect)

    second = await lost(engine, run, first)

    assert isinstance(before, Go)
    assert await engine.steps.begin(run.id, second, "a", "search", effect) == before


async def test_idempotency_keys_differ_between_steps_runs_and_generations(engine: Engine) -> None:
    retry = Retry(max_attempts=2, backoff_s=0, journal=JournalMode.FRESH)
    run, first = await running(engine, new_run(retry=retry))
    keys = [await engine.steps.begin(run.id, first, key, "n", READ) for key in ("a", "b")]
    await engine.fail(run.id, first, RunError("agent_error", "no"), retryable=True)
    await engine.recover()
    keys.append(await engine.steps.begin(run.id, await again(engine), "a", "n", READ))
    other, attempt_id = await running(engine)
    keys.append(await engine.steps.begin(other.id, attempt_id, "a", "n", READ))

    assert len({key.idempotency_key for key in keys if isinstance(key, Go)}) == 4


async def test_asked_twice_by_the_same_attempt_the_answer_is_the_same(engine: Engine) -> None:
    run, attempt_id = await running(engine)

    first = await engine.steps.begin(run.id, attempt_id, "pay", "pay", ONCE)
    second = await engine.steps.begin(run.id, attempt_id, "pay", "pay", ONCE)
    await engine.steps.end(run.id, attempt_id, "pay", b"1")
    await engine.steps.end(run.id, attempt_id, "pay", b"2")

    assert first == second
    assert await engine.steps.begin(run.id, attempt_id, "pay", "pay", ONCE) == Done(b"1")


@pytest.mark.parametrize("effect", [READ, IDEMPOTENT])
async def test_a_step_that_failed_is_tried_again(engine: Engine, effect: Effect) -> None:
    run, first = await running(engine)
    go = await engine.steps.begin(run.id, first, "a", "search", effect)
    await engine.steps.fail(run.id, first, "a", "TimeoutError: too slow")

    second = await lost(engine, run, first)

    assert await engine.steps.begin(run.id, second, "a", "search", effect) == go
    assert await told(engine, run) == [
        {"step": "a", "name": "search", "state": "failed", "ms": 0, "error": "TimeoutError: too slow"}
    ]


async def test_a_step_that_may_be_done_once_only_stays_failed(engine: Engine) -> None:
    run, first = await running(engine)
    await engine.steps.begin(run.id, first, "pay", "pay", ONCE)
    await engine.steps.fail(run.id, first, "pay", "Timeout\0")

    assert await engine.steps.begin(run.id, first, "pay", "pay", ONCE) == Failed("Timeout\0")
    second = await lost(engine, run, first)
    assert await engine.steps.begin(run.id, second, "pay", "pay", ONCE) == Failed("Timeout\0")


async def test_over_a_step_that_may_have_been_done_the_run_waits(engine: Engine, clock: FakeClock) -> None:
    run = await unsure(engine)

    assert (run.state, run.waiting_kind, run.attempt_id, run.worker_id) == (
        RunState.WAITING,
        "tool",
        None,
        None,
    )
    assert run.waiting is not None
    assert msgspec.json.decode(run.waiting) == {
        "step": "pay",
        "name": "pay",
        "input": {"euros": 5},
        "since": "2027-01-15T08:00:00.000Z",
    }
    assert await claim(engine) == []


async def test_the_attempt_hears_that_its_run_waits(engine: Engine) -> None:
    run, first = await running(engine)
    await engine.steps.begin(run.id, first, "pay", "pay", ONCE)
    second = await lost(engine, run, first)
    heard: list[Run] = []
    engine.wakeups.guard(second, heard.append)

    await engine.steps.begin(run.id, second, "pay", "pay", ONCE)

    assert [it.state for it in heard] == [RunState.WAITING]
    with pytest.raises(Fenced):
        await engine.steps.begin(run.id, second, "other", "other", READ)


@pytest.mark.parametrize(
    ("answer", "result", "error", "verdict"),
    [
        (Answer.RETRY, None, None, Go),
        (Answer.SKIP, b'{"paid":true}', None, Done),
        (Answer.FAIL, None, "The card was refused.", Failed),
    ],
)
async def test_an_answer_settles_the_step_and_wakes_the_run(
    engine: Engine, answer: Answer, result: bytes | None, error: str | None, verdict: type
) -> None:
    run = await unsure(engine)

    woken = await engine.steps.answer(ME, run.id, "pay", answer, result, error)
    attempt_id = await again(engine)
    found = await engine.steps.begin(run.id, attempt_id, "pay", "pay", ONCE)

    assert (woken.state, woken.ready, woken.waiting) == (RunState.QUEUED, True, None)
    assert isinstance(found, verdict)
    match found:
        case Done():
            assert found.result == result
        case Failed():
            assert found.error == error
        case _:
            await engine.steps.end(run.id, attempt_id, "pay", b"1")
    assert (await told(engine, run))[0] == {
        "step": "pay",
        "name": "pay",
        "state": {"retry": "again", "skip": "done", "fail": "failed"}[answer],
        **({} if error is None else {"error": error}),
        "answer": answer,
    }


async def test_the_same_answer_again_does_no_harm_and_another_one_is_refused(engine: Engine) -> None:
    run = await unsure(engine)
    for _ in range(2):
        await engine.steps.answer(ME, run.id, "pay", Answer.SKIP, b"1")

    with pytest.raises(StepNotWaiting, match="has been answered already: skip"):
        await engine.steps.answer(ME, run.id, "pay", Answer.SKIP, b"2")
    with pytest.raises(StepNotWaiting, match="has been answered already: skip"):
        await engine.steps.answer(ME, run.id, "pay", Answer.RETRY)


async def test_a_retry_may_be_unsure_again(engine: Engine) -> None:
    run = await unsure(engine)
    await engine.steps.answer(ME, run.id, "pay", Answer.RETRY)
    third = await again(engine)
    await engine.steps.begin(run.id, third, "pay", "pay", ONCE)
    await engine.steps.answer(ME, run.id, "pay", Answer.RETRY)

    fourth = await lost(engine, run, third)

    assert await engine.steps.begin(run.id, fourth, "pay", "pay", ONCE) == Unsure()


async def test_of_two_answers_at_the_same_time_one_counts(engine: Engine) -> None:
    run = await unsure(engine)

    answers = await asyncio.gather(
        engine.steps.answer(ME, run.id, "pay", Answer.SKIP, b"1"),
        engine.steps.answer(ME, run.id, "pay", Answer.FAIL, error="no"),
        return_exceptions=True,
    )

    assert sorted(isinstance(it, Refused | StepNotWaiting) for it in answers) == [False, True]


async def test_nothing_else_can_be_answered(engine: Engine) -> None:
    run, attempt_id = await running(engine)
    await engine.steps.begin(run.id, attempt_id, "pay", "pay", ONCE)

    with pytest.raises(StepNotWaiting, match="is running; it does not wait"):
        await engine.steps.answer(ME, run.id, "pay", Answer.RETRY)
    with pytest.raises(StepNotFound, match="has no step 'other'"):
        await engine.steps.answer(ME, run.id, "other", Answer.RETRY)
    with pytest.raises(RunNotFound):
        await engine.steps.answer(Caller("someone else"), run.id, "pay", Answer.RETRY)


async def test_a_cancelled_run_waits_for_nothing(engine: Engine) -> None:
    run = await unsure(engine)
    await engine.cancel(ME, run.id)

    with pytest.raises(StepNotWaiting, match="cancelled; nothing of it waits"):
        await engine.steps.answer(ME, run.id, "pay", Answer.RETRY)


async def test_only_the_attempt_that_began_a_step_ends_it(engine: Engine) -> None:
    run, first = await running(engine)
    await engine.steps.begin(run.id, first, "a", "a", READ)
    second = await lost(engine, run, first)

    with pytest.raises(Fenced):
        await engine.steps.end(run.id, first, "a", b"1")
    with pytest.raises(StepNotBegun):
        await engine.steps.end(run.id, second, "a", b"1")
    with pytest.raises(StepNotBegun):
        await engine.steps.fail(run.id, second, "b", "no")


async def test_a_key_is_of_one_name(engine: Engine) -> None:
    run, attempt_id = await running(engine)
    await engine.steps.begin(run.id, attempt_id, "a", "search", READ)

    with pytest.raises(StepMismatch, match="is 'search', not 'pay'"):
        await engine.steps.begin(run.id, attempt_id, "a", "pay", ONCE)


async def test_a_finished_step_is_progress(engine: Engine) -> None:
    run, attempt_id = await running(engine)
    assert run.unproven == 1
    await engine.steps.begin(run.id, attempt_id, "a", "a", READ)
    await engine.steps.fail(run.id, attempt_id, "a", "no")
    assert (await engine.get(ME, run.id)).unproven == 1

    await engine.steps.begin(run.id, attempt_id, "b", "b", READ)
    await engine.steps.end(run.id, attempt_id, "b", b"1")

    assert (await engine.get(ME, run.id)).unproven == 0


async def test_steps_of_many_runs_share_a_commit(engine: Engine) -> None:
    for _ in range(5):
        await submit(engine)
    held = [(it.run.id, it.run.attempt_id or "") for it in await claim(engine, 5)]

    async def do(run_id: str, attempt_id: str, key: str) -> None:
        await engine.steps.begin(run_id, attempt_id, key, "n", READ)
        await engine.steps.end(run_id, attempt_id, key, b"1")

    await asyncio.gather(*(do(*pair, f"step:{n}") for pair in held for n in range(20)))

    pages = [await engine.steps.page(ME, run_id, Page(100)) for run_id, _ in held]
    assert [(page.total, {step.state for step in page.steps}) for page in pages] == [
        (20, {StepState.DONE})
    ] * 5


async def test_steps_are_listed_as_they_were_begun(engine: Engine, clock: FakeClock) -> None:
    run, attempt_id = await running(engine)
    for key in ("c", "a", "b"):
        await engine.steps.begin(run.id, attempt_id, key, "n", ONCE, b'{"of":"%s"}' % key.encode())
        clock.advance(1)
    await engine.steps.end(run.id, attempt_id, "a", b"1")

    page = await engine.steps.page(ME, run.id, Page(2, 1))

    assert page.total == 3
    assert [(step.key, step.state, step.input) for step in page.steps] == [
        ("a", StepState.DONE, b'{"of":"a"}'),
        ("b", StepState.RUNNING, b'{"of":"b"}'),
    ]
    with pytest.raises(RunNotFound):
        await engine.steps.page(Caller("someone else"), run.id, Page())


async def test_of_a_long_input_the_beginning_is_kept(engine: Engine) -> None:
    run, attempt_id = await running(engine)
    await engine.steps.begin(run.id, attempt_id, "a", "n", READ, msgspec.json.encode({"text": "ü" * 10_000}))

    (step, _) = await engine.steps.find(ME, run.id, "a")

    assert step.input is not None
    assert len(step.input) <= INPUT_MAX
    assert msgspec.json.decode(step.input).startswith('{"text":"üü')


async def test_steps_go_with_their_run(engine: Engine, store: Store) -> None:
    run, attempt_id = await running(engine)
    await engine.steps.begin(run.id, attempt_id, "a", "n", READ)
    await engine.steps.end(run.id, attempt_id, "a", b"1")
    await engine.succeed(run, attempt_id, b"1")

    await engine.delete(ME, run.id)

    assert (await store.steps(run.id, 1, Page())).total == 0


async def test_a_fork_begins_with_the_steps_of_its_run(engine: Engine, store: Store) -> None:
    run, attempt_id = await running(engine)
    await engine.steps.begin(run.id, attempt_id, "a", "n", READ)
    await engine.steps.end(run.id, attempt_id, "a", b"1")
    go = await engine.steps.begin(run.id, attempt_id, "b", "n", IDEMPOTENT)
    await engine.steps.begin(run.id, attempt_id, "pay", "pay", ONCE)
    await engine.fail(run.id, attempt_id, RunError("agent_error", "no"))
    born = await submit(engine)
    fork = msgspec.structs.replace(
        born, id="run_fork", forked_from=run.id, order_at=0, seq=0
    )  # the next in line
    request = await engine.bodies.keep(run.tenant, b"{}")
    await store.submit(Submit(fork, request, Fork(run.id, 1, forgets_last=False)))
    attempt_id = await again(engine)

    assert await engine.steps.begin("run_fork", attempt_id, "a", "n", READ) == Done(b"1")
    assert await engine.steps.begin("run_fork", attempt_id, "b", "n", IDEMPOTENT) == go
    assert await engine.steps.begin("run_fork", attempt_id, "pay", "pay", ONCE) == Unsure()


@pytest.mark.parametrize(
    ("statement", "promise"),
    [
        ("UPDATE steps SET state = 'running'", "a run waits for a tool's step"),
        ("UPDATE runs SET waiting_kind = 'budget' WHERE state = 'waiting'", "a run waits for a tool's step"),
        ("UPDATE steps SET run_id = 'run_gone'", "no event, no step and no attempt outlives its run"),
    ],
)
async def test_steps_that_do_not_fit_their_run_are_found(
    either: Either, statement: str, promise: str
) -> None:
    store = either.make()
    await store.open()
    await unsure(Engine(store, either.clock))
    await store.close()
    await either.check()

    await either.execute(statement)

    with pytest.raises(AssertionError, match=promise):
        await either.check()
