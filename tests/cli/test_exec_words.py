"""What the words on the line of `outlast exec` come to, without a program."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from outlast.clock import SystemClock
from outlast.commands import exec as exec_command
from outlast.engine import Engine
from outlast.execs import begin
from outlast.runs import RunState
from outlast.steps import Answer, Effect, StepState
from outlast.store.sqlite import SqliteStore
from outlast.transitions import Cause
from tests.runs_factory import ME, claim, running


@pytest.mark.parametrize("line", [["--step", "skip", "true"], ["-f", "--status", "run_1"]])
def test_a_word_that_belongs_to_another_is_refused_without_it(line: list[str]) -> None:
    told = CliRunner().invoke(exec_command.command, line)

    assert told.exit_code == 2
    assert "--step goes with --resume, and --follow with --logs" in told.output


async def test_the_step_that_a_run_waits_for_is_answered_however_many_came_before(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, SystemClock())
    await store.open()
    engine = Engine(store, SystemClock())
    run, first = await running(engine)
    for number in range(101):
        await engine.steps.begin(run.id, first, f"look:{number}", "look", Effect.READ)
    await engine.steps.begin(run.id, first, "pay", "pay", Effect.ONCE)
    await engine.lose(run.id, first, Cause.WORKER)
    (claimed,) = await claim(engine)
    await engine.steps.begin(run.id, claimed.run.attempt_id or "", "pay", "pay", Effect.ONCE)

    assert await begin.answered(Answer.SKIP)(engine) == run.id

    assert (await engine.get(ME, run.id)).state is RunState.QUEUED
    step, result = await engine.steps.find(ME, run.id, "pay")
    assert (step.state, result) == (StepState.DONE, b"null")
    await store.close()
