"""What docs/guides/steps.md shows is what happens."""

import asyncio
import os
import re
import shutil
from pathlib import Path

import msgspec
import pytest

from outlast.clock import SystemClock
from outlast.runners.protocol import Job, ToParent
from outlast.runs import RunRequest
from outlast.worker.context import RunContext
from tests.gateway.conftest import Agent
from tests.gateway.test_durable import be, kept
from tests.gateway.test_steps import successor

GUIDE = (Path(__file__).parents[2] / "docs/guides/steps.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
(CURL,) = re.findall(r"```bash\n(curl.*?)```", GUIDE, re.DOTALL)
KEY = "pay:9049806f5b88:1"


def context(agent: Agent) -> RunContext:
    """What a `function` agent of this attempt gets beside its prompt."""
    frames: list[ToParent] = []
    job = Job(
        run_id=agent.run_id,
        attempt_id=agent.attempt_id,
        attempt=1,
        request=RunRequest(prompt="shoes", runner="function"),
        run_url=agent.grant.base_url.removesuffix("/v1") + "/run",
        token=agent.grant.token,
    )
    return RunContext(job, frames.append, lambda seconds, call: None, SystemClock())


async def test_the_example_does_each_step_once(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    module: dict[str, object] = {}
    exec(EXAMPLE, module)
    work = module["agent"]
    assert callable(work)

    be(agent, monkeypatch)
    first = await asyncio.to_thread(work, "shoes", context(agent))
    second = await successor(agent)
    be(second, monkeypatch)
    again = await asyncio.to_thread(work, "shoes", context(second))

    assert again == first
    assert (first["found"], first["stars"], first["paid"]) == (["shoes in red", "shoes in blue"], 4, 5)
    steps = {step.name: step for step in await kept(agent)}
    assert set(steps) == {"search", "rate", "pay"}
    assert first["reference"] == steps["pay"].idempotency_key
    assert steps["pay"].key == KEY
    assert GUIDE.count(KEY) == 5


async def test_the_curl_lines_do_a_step(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    be(agent, monkeypatch)
    shell = await asyncio.create_subprocess_shell(
        CURL.replace("\ncurl", "; echo; curl"), stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    said, _ = await shell.communicate()

    begun, ended = map(msgspec.json.decode, said.splitlines())
    assert shutil.which("curl")
    assert (begun["state"], begun["step"]) == ("run", KEY)
    assert ended == {"state": "done", "step": KEY}
