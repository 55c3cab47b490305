"""A program under `outlast exec`, killed again and again, pays for each model call once."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.worker import processes
from tests.cli.test_exec import DEADLINE_S, Exec
from tests.live import descendants
from tests.provider import Provider, Say

pytestmark = pytest.mark.slow
ROUNDS = 5
AGENT = f"""
import os
from openai import OpenAI

client = OpenAI()
messages = [{{"role": "user", "content": "Begin."}}]
for n in range({ROUNDS}):
    answer = client.chat.completions.create(model="m", messages=messages).choices[0].message.content
    messages += [{{"role": "assistant", "content": answer}}, {{"role": "user", "content": "Go on."}}]
    print(os.getpid(), answer, flush=True)
    if n < {ROUNDS - 1} and os.environ["OUTLAST_ATTEMPT"] == str(n + 1):
        input()  # to be killed here, between two calls
"""


@pytest.fixture
def outlast(tmp_path: Path) -> Iterator[Exec]:
    here = Exec(tmp_path)
    (tmp_path / "agent.py").write_text(AGENT)
    yield here
    here.end()


def until_answer(process: subprocess.Popen[bytes], n: int) -> int:
    """The program's process, when it has its n-th answer."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith(b"answer %d\n" % n):
            return int(line.split()[0])
    raise AssertionError(f"no answer {n}")


def test_a_program_that_is_killed_three_times_pays_for_each_call_once(outlast: Exec) -> None:
    with Provider() as provider:
        provider.answer = lambda asked: Say(f"answer {len(provider.asked)}")
        outlast.env |= {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": provider.key}

        process = outlast.start("--", sys.executable, "agent.py", stdin=subprocess.PIPE)
        processes.send(until_answer(process, 1), signal.SIGKILL)  # the program: it is started again
        until_answer(process, 2)
        outlast.kill_everything(process)
        process = outlast.start("--resume", outlast.run_id, stdin=subprocess.PIPE)
        until_answer(process, 3)
        process.send_signal(signal.SIGKILL)  # this alone: the rest dies with it
        process.communicate(timeout=DEADLINE_S)
        process = outlast.start("--resume", outlast.run_id, stdin=subprocess.PIPE)
        until_answer(process, 4)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_S)
        code, out, err = outlast.run("--resume", outlast.run_id)

        assert (code, out.count(b"answer")) == (0, ROUNDS), err
        assert len(provider.asked) == ROUNDS

        code, out, err = outlast.run("--resume", outlast.run_id, stdin=b"\n")  # ended: once more, for nothing
        assert (code, out.count(b"answer")) == (0, ROUNDS), err
        assert len(provider.asked) == ROUNDS
        assert not descendants(process.pid)
