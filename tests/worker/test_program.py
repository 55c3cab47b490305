"""The `command` runner at work: what a program sees, how it may end, and what is left of it."""

import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from outlast.config import AgentConfig
from outlast.lifecycle import MAX_LOST
from outlast.runs import Retry, Run, RunState
from tests.worker.conftest import ME, Bench, at_work, settings_in, until

PYTHON = sys.executable
SEES = """
import json, os, signal, sys
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
ignored = [n for n in signal.valid_signals() if n not in blocked and signal.getsignal(n) == signal.SIG_IGN]
print(json.dumps({
    "environ": dict(os.environ), "stdin": sys.stdin.read(), "cwd": os.getcwd(), "argv": sys.argv[1:],
    "pid": os.getpid(), "session": os.getsid(0), "blocked": len(blocked), "ignored": [int(n) for n in ignored],
    "fds": sorted(map(int, os.listdir("/proc/self/fd"))),
}))
"""


async def result(bench: Bench, run: Run) -> str:
    assert run.state is RunState.SUCCEEDED, (run.error, await bench.logs(run.id))
    text: str = msgspec.json.decode((await bench.engine.result(ME, run.id))[1])
    return text


async def test_a_program_sees_its_prompt_its_model_and_its_run_and_no_more(bench: Bench) -> None:
    odd = ["a b", "$HOME", "'\"", "é", "", "--", "*"]
    run = await bench.ended(await bench.start(PYTHON, "-c", SEES, *odd, prompt="Sort these."))

    seen = msgspec.json.decode(await result(bench, run))
    environ = seen["environ"]
    assert (seen["stdin"], environ["OUTLAST_PROMPT"]) == ("Sort these.", "Sort these.")
    assert environ["OPENAI_BASE_URL"] == environ["OPENAI_API_BASE"] == "http://127.0.0.1:9/v1"
    assert environ["OPENAI_API_KEY"] == f"token-of-{bench.access.granted[0]}"
    assert (environ["OUTLAST_RUN_ID"], environ["OUTLAST_ATTEMPT"]) == (run.id, "1")
    assert environ["OPENAI_AGENTS_DISABLE_TRACING"] == "1"
    assert bench.access.granted[0] in environ["OUTLAST_MARK"]
    assert seen["argv"] == odd
    assert seen["cwd"] == str(bench.settings.agent_root)
    assert seen["session"] == seen["pid"]
    assert (seen["blocked"], seen["ignored"]) == (0, _ignored())  # Python's own doing, and nohup's
    assert seen["fds"][:3] == [0, 1, 2]
    assert len(seen["fds"]) == 4  # and the one it listed them with


def _ignored() -> list[int]:
    """What this process ignores itself; Ctrl-C is not among it."""
    return [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]


async def test_an_operators_variables_reach_the_program_and_ours_win(tmp_path: Path) -> None:
    named = AgentConfig(command=("x",), env={"GREETING": "Grüezi", "OPENAI_API_KEY": "sk-theirs"})
    settings = msgspec.structs.replace(settings_in(tmp_path), agents={"program": named})
    async with at_work(settings) as bench:
        run = await bench.ended(await bench.start("sh", "-c", 'echo "$GREETING $OPENAI_API_KEY"'))

        assert await result(bench, run) == f"Grüezi token-of-{bench.access.granted[0]}"


async def test_a_prompt_that_no_variable_can_hold_comes_on_stdin_alone(bench: Bench) -> None:
    line = 'echo "${OUTLAST_PROMPT-none} $(wc -c)"'
    long = await bench.ended(await bench.start("sh", "-c", line, prompt="x" * 300_000))
    nul = await bench.ended(await bench.start("sh", "-c", line, prompt="a\0b"))

    assert (await result(bench, long)).split() == ["none", "300000"]
    assert (await result(bench, nul)).split() == ["none", "3"]


LAST_LINES = {
    "echo one; echo two; echo; echo '  '": "two",
    "echo one; echo two >&2": "one",
    "printf 'no newline'": "no newline",
    "echo '{\"a\": 1}'": '{"a": 1}',
    r"printf 'a\r\nb\r\n'": "b",
    r"printf 'bytes \377 here'": "bytes \ufffd here",
    "echo early; exec >&-; sleep 0.1": "early",
}


async def test_the_last_line_with_something_in_it_is_the_result(bench: Bench) -> None:
    run_ids = {line: await bench.start("sh", "-c", line) for line in LAST_LINES}

    found = {line: await result(bench, await bench.ended(run_id)) for line, run_id in run_ids.items()}

    assert found == LAST_LINES


async def test_a_result_may_be_longer_than_a_line_of_the_log(bench: Bench) -> None:
    run = await bench.ended(await bench.start(PYTHON, "-c", "print('x' * 1_000_000)"))

    assert await result(bench, run) == "x" * 1_000_000
    (line,) = await bench.logs(run.id)
    assert "[cut: the line is longer" in line


async def test_what_it_prints_on_either_pipe_is_the_log(bench: Bench) -> None:
    run = await bench.ended(await bench.start("sh", "-c", "echo out; echo err >&2; printf 'e\\377nd'"))

    assert sorted(await bench.logs(run.id)) == ["err", "e\ufffdnd", "out"]


FAILURES = {
    ("sh", "-c", "echo half; exit 3"): ("exit_code", "The program ended with exit code 3."),
    ("true",): ("empty_result", "The agent returned nothing."),
    ("./missing",): (
        "command_not_startable",
        "./missing cannot be started: No such file or directory",
    ),
    ("/",): ("command_not_startable", "/ cannot be started: Permission denied"),
}


async def test_a_failure_of_the_program_has_a_code_and_a_sentence(bench: Bench) -> None:
    run_ids = {argv: await bench.start(*argv) for argv in FAILURES}

    runs = {argv: await bench.ended(run_id) for argv, run_id in run_ids.items()}

    said = {argv: (run.error.code, run.error.message) for argv, run in runs.items() if run.error}
    assert said == FAILURES
    assert {(run.state, run.attempt, run.lost) for run in runs.values()} == {(RunState.FAILED, 1, 0)}


async def test_the_gateways_reason_stands_beside_an_exit_code(bench: Bench) -> None:
    bench.access.why = "The provider answered 500."

    run = await bench.ended(await bench.start("false"))

    assert run.error is not None
    assert run.error.message == (
        "The program ended with exit code 1. Its last model call failed: The provider answered 500."
    )


async def test_an_exit_code_is_retried_if_the_submit_asked_for_it(bench: Bench) -> None:
    line = 'echo "try $OUTLAST_ATTEMPT"; test $OUTLAST_ATTEMPT = 2'

    run = await bench.ended(await bench.start("sh", "-c", line, retry=Retry(max_attempts=2, backoff_s=0.05)))

    assert (await result(bench, run), run.attempt) == ("try 2", 2)


async def test_a_program_that_is_killed_is_started_again(bench: Bench) -> None:
    run = await bench.ended(
        await bench.start("sh", "-c", "test $OUTLAST_ATTEMPT = 1 && kill -SEGV $$; echo alive")
    )

    assert await result(bench, run) == "alive"
    assert (run.attempt, run.lost) == (2, 1)
    assert "The program was ended by SIGSEGV." in await bench.logs(run.id)


async def test_a_program_that_is_always_killed_is_given_up(bench: Bench) -> None:
    run = await bench.ended(await bench.start("sh", "-c", "kill -9 $$"))

    assert run.error is not None
    assert (run.error.code, run.lost) == ("worker_lost", MAX_LOST)


FAMILY = "(setsid sleep 1000 &) ; (env -i sleep 1000 &) ; sleep 1000 & echo ready; {}"


@pytest.mark.parametrize("end", ["exit 1", "wait"])
async def test_nothing_that_a_program_started_outlives_its_attempt(bench: Bench, end: str) -> None:
    run_id = await bench.start("sh", "-c", FAMILY.format(end))
    await bench.said(run_id)
    if end == "wait":
        assert len(bench.left()) == 5
        await bench.engine.cancel(ME, run_id)
    else:
        await bench.ended(run_id)

    await bench.idle()

    assert bench.left() == set()


async def test_a_program_hears_of_a_cancel_and_may_clean_up(bench: Bench, tmp_path: Path) -> None:
    line = f"trap 'echo cleaned > {tmp_path}/mark; exit' TERM; echo ready; while :; do sleep 0.01; done"
    run_id = await bench.start("sh", "-c", line)
    await bench.said(run_id)

    await bench.engine.cancel(ME, run_id)
    await bench.idle()

    assert (tmp_path / "mark").read_text() == "cleaned\n"


@pytest.mark.parametrize("who", ["program", "keeper", "fork server"])
async def test_whoever_of_its_processes_dies_none_is_left_and_the_run_goes_on(bench: Bench, who: str) -> None:
    await bench.warm()
    line = "test $OUTLAST_ATTEMPT = 1 || { echo again; exit; }; echo ready $$ $PPID; sleep 1000 & wait"
    run_id = await bench.start("sh", "-c", line)
    _, program, keeper = (await bench.said(run_id)).split()
    fork_server = bench.worker._isolated._newest
    assert fork_server is not None
    left = bench.left()

    os.kill({"program": int(program), "keeper": int(keeper)}.get(who, fork_server.pid), signal.SIGKILL)
    run = await bench.ended(run_id)

    assert await result(bench, run) == "again"
    await bench.idle()
    await until(lambda: not left & bench.left(), 5, "the first attempt's processes to be gone")


async def test_an_endless_printer_is_bounded_and_can_be_cancelled(bench: Bench) -> None:
    run_id = await bench.start("yes", "x" * 100)
    await bench.said(run_id, "xxx")
    await bench.said(run_id, "", 20)

    await bench.engine.cancel(ME, run_id)
    await bench.idle()

    assert len(await bench.logs(run_id)) < 2000
    assert bench.left() == set()


async def test_the_time_of_a_program_is_up(bench: Bench) -> None:
    run = await bench.ended(await bench.start("sleep", "1000", timeout_s=1))
    await bench.idle()

    assert run.error is not None
    assert run.error.code == "timeout"
    assert bench.left() == set()
