"""An isolated attempt: what it sees, how it may end, and what is left of it."""

import os
import signal
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from outlast.lifecycle import MAX_LOST
from outlast.runs import EventKind, Retry, RunState
from outlast.worker import logs
from tests.agents import wild
from tests.live import processes_with
from tests.worker.conftest import ME, Bench, no_file_to_spare, until


async def test_an_agent_sees_its_model_and_its_run_and_no_secret(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await bench.ended(await bench.submit("where"))

    seen = msgspec.json.decode((await bench.engine.result(ME, run.id))[1])
    environ = seen["environ"]
    attempt_id = bench.access.granted[0]
    assert environ["OPENAI_BASE_URL"] == environ["OPENAI_API_BASE"] == "http://127.0.0.1:9/v1"
    assert environ["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:9"
    assert environ["OPENAI_API_KEY"] == f"token-of-{attempt_id}"
    assert environ["OUTLAST_RUN_ID"] == run.id
    assert environ["OUTLAST_ATTEMPT"] == "1"
    assert environ["OPENAI_AGENTS_DISABLE_TRACING"] == "1"
    assert "127.0.0.1" in environ["NO_PROXY"]
    assert attempt_id in environ["OUTLAST_MARK"]
    assert attempt_id in seen["block"]
    assert attempt_id in seen["exec_mark"]
    assert "OPENAI_API_KEY" not in seen["block"]
    assert "OPENAI_API_KEY" not in seen["parents_block"]
    assert seen["session"] == seen["pid"]
    assert seen["nice"] == min(19, os.nice(0) + 10)
    assert seen["cwd"] == str(bench.settings.agent_root)
    assert seen["stdin"] == ""


async def test_what_the_server_was_started_with_stays_with_the_server(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = f"sk-{uuid4().hex}"
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    monkeypatch.setenv("OUTLAST_API_KEYS", secret)
    await bench.worker.drain(0)
    bench.worker = bench.new_worker()
    await bench.worker.start()

    await bench.warm()
    assert len(processes_with(f"OUTLAST_MARK={bench.worker.folder}")) == 2
    assert processes_with(secret) == []
    run = await bench.ended(await bench.submit("where"))
    _, result = await bench.engine.result(ME, run.id)

    assert secret.encode() not in result


@pytest.mark.parametrize(
    ("agent", "code", "words"),
    [
        ("fails", "agent_error", "ValueError: the moon is in the wrong house"),
        ("fails_by_name", "no_moon", "There is no moon tonight."),
        ("exits", "agent_exited", "The agent called sys.exit(3) and left no result."),
        (
            "exits_hard",
            "agent_exited",
            "The agent ended its own process with exit code 4 and left no result.",
        ),
        ("eats", "out_of_memory", "The agent used up the memory that its process may have."),
        ("missing", "agent_error", "KeyError: 'missing'"),
    ],
)
async def test_a_failure_of_the_agent_has_a_code_and_a_sentence(
    bench: Bench, agent: str, code: str, words: str
) -> None:
    run = await bench.ended(await bench.submit(agent))

    assert run.state is RunState.FAILED
    assert run.error is not None
    assert (run.error.code, run.error.message) == (code, words)
    assert run.lost == 0


async def test_a_failure_leaves_its_traceback_in_the_log(bench: Bench) -> None:
    run = await bench.ended(await bench.submit("fails"))

    (trace,) = await bench.logs(run.id)
    assert 'raise ValueError("the moon is in the wrong house")' in trace
    assert trace.splitlines()[1].strip().startswith(f'File "{wild.__file__}"')
    kinds = [event.kind for event in await bench.events(run.id)]
    assert kinds[-2:] == [EventKind.LOG, EventKind.COMPLETE]


async def test_a_failure_is_retried_if_the_submit_asked_for_it(bench: Bench) -> None:
    run = await bench.ended(await bench.submit("fails_once", retry=Retry(max_attempts=2, backoff_s=0.1)))

    assert run.state is RunState.SUCCEEDED
    assert run.attempt == 2


async def test_what_earlier_attempts_logged_counts_against_the_runs_limit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LOG_MAX", 100_000)
    run_id = await bench.submit("babbles", retry=Retry(max_attempts=2, backoff_s=0.01))

    await bench.said(run_id, "The log has reached")

    said = [line for line in await bench.logs(run_id) if line.startswith("xxx")]
    assert 95 < len(said) < 150
    assert (await bench.engine.cancel(ME, run_id)).attempt == 2


async def test_an_agent_that_kills_its_process_is_run_again(bench: Bench) -> None:
    run = await bench.ended(await bench.submit("dies_once"))

    assert run.state is RunState.SUCCEEDED
    assert (run.attempt, run.lost) == (2, 1)


async def test_an_agent_that_always_kills_its_process_is_given_up_and_harms_no_other(bench: Bench) -> None:
    neighbour = await bench.ready("sleeper")

    run = await bench.ended(await bench.submit("dies"))

    assert run.state is RunState.FAILED
    assert run.error is not None
    assert run.error.code == "worker_lost"
    assert run.lost == MAX_LOST
    assert (await bench.run(neighbour)).attempt == 1
    assert (await bench.run(neighbour)).state is RunState.RUNNING


async def test_the_output_is_the_log_line_by_line(bench: Bench) -> None:
    run = await bench.ended(await bench.submit("prints"))

    logs = await bench.logs(run.id)
    assert logs[:5] == ["one", "two", "to stderr", "not \ufffd utf-8", "nul \x00 here"]
    assert logs[5].startswith("x" * 16_384 + " … [cut")
    assert len(logs[5]) < 16_500
    assert logs[6:] == ["no newline at the end"]


async def test_progress_and_words_arrive_from_any_thread(bench: Bench) -> None:
    run_id = await bench.submit("reports")
    with bench.engine.watch(run_id, tokens=True) as watch:
        run = await bench.ended(run_id)

    assert run.progress.steps_completed == 100
    assert await bench.logs(run_id) == ["from a thread", "a lone \ufffd surrogate"]
    reports = [event for event in await bench.events(run_id) if event.kind is EventKind.PROGRESS]
    assert 1 <= len(reports) < 20
    assert "".join(watch.take_tokens()).split() == [str(n) for n in range(1, 101)]


@pytest.mark.parametrize("word", ["stay", "leave", "crash"])
async def test_nothing_that_an_agent_started_outlives_its_attempt(bench: Bench, word: str) -> None:
    run_id = await bench.submit("family", word)
    await bench.said(run_id)
    if word == "stay":
        assert len(bench.left()) == 5
        await bench.engine.cancel(ME, run_id)
    else:
        await bench.ended(run_id)

    await bench.idle()

    assert bench.left() == set()


async def test_a_fork_bomb_ends_with_its_run(bench: Bench) -> None:
    run_id = await bench.ready("bomb")
    await until(lambda: len(bench.left()) > 60, 10, "the bomb to go off")

    await bench.engine.cancel(ME, run_id)
    await bench.idle()

    assert bench.left() == set()


@pytest.mark.long
async def test_an_agent_with_a_thousand_processes_is_ended(bench: Bench) -> None:
    run = await bench.ended(await bench.submit("crowd"))
    await bench.idle()

    assert run.error is not None
    assert run.error.code == "too_many_processes"
    assert bench.left() == set()


async def test_a_thread_that_does_not_end_holds_nothing_up(bench: Bench) -> None:
    assert await bench.result("thread_stays") == "returned"


async def test_of_two_processes_that_return_the_first_ones_result_counts(bench: Bench) -> None:
    assert await bench.result("forks_and_returns") == "parent"


async def test_an_agent_that_cuts_itself_off_fails(bench: Bench) -> None:
    run = await bench.ended(await bench.submit("closes_all"))

    assert run.error is not None
    assert run.error.message == "The agent closed its connection to Outlast and left no result."


async def test_an_agent_may_have_worker_processes_and_end_them(bench: Bench) -> None:
    assert await bench.result("pools") == [-15, [1, 2, 3]]


async def test_temporary_files_go_with_the_attempt(bench: Bench) -> None:
    folder = await bench.result("litters")

    assert isinstance(folder, str)
    await until(lambda: not Path(folder).exists(), 5, "the files to be removed")


async def test_a_system_that_tidies_up_temporary_folders_breaks_nothing(bench: Bench) -> None:
    folder = await bench.result("litters")
    assert isinstance(folder, str)
    await until(lambda: not Path(folder).exists(), 5, "the files to be removed")
    os.rmdir(os.path.dirname(folder))  # noqa: PTH106, PTH120

    assert await bench.result("litters") != folder


async def test_when_the_fork_server_dies_its_runs_start_anew_uncounted(bench: Bench) -> None:
    await bench.warm()
    run_id = await bench.submit("family", "stay")
    await bench.said(run_id)
    first = bench.left()
    (fork_server,) = processes_with(f"{bench.worker.folder}:fork-server")

    os.kill(fork_server, signal.SIGKILL)
    await until(lambda: len(bench.access.granted) == 2, 10, "a second attempt")
    await until(lambda: len(bench.left()) == 5, 10, "the second attempt's own processes")

    run = await bench.run(run_id)
    assert (run.attempt, run.lost) == (2, 0)
    assert first.isdisjoint(bench.left())
    assert await bench.result("echo", "still there") == "still there"


async def test_a_fork_server_that_cannot_be_replaced_at_once_is_replaced_later(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.warm()
    run_id = await bench.ready("sleeper")
    (fork_server,) = processes_with(f"{bench.worker.folder}:fork-server")

    with no_file_to_spare():
        os.kill(fork_server, signal.SIGKILL)
        await until(lambda: "could not be" in caplog.text, 5, "a sweep or a start that fails")

    await until(lambda: len(bench.access.granted) == 2, 10, "a second attempt")
    assert await bench.result("echo", "still there") == "still there"
    await bench.engine.cancel(ME, run_id)
