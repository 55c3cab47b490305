"""What docs/guides/agents-yaml.md shows is what happens."""

import re
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from outlast.config import Settings
from outlast.runners.builtin.agents_yaml import parse
from outlast.runners.builtin.body import run
from outlast.runners.builtin.front import RUNNER
from outlast.runners.builtin.model import close_shared_client
from outlast.runners.protocol import Submission
from tests.provider import Provider
from tests.runners.builtin.guide import GUIDE, tables
from tests.runners.builtin.told import Told, job_for, messages

TEXT = GUIDE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture(autouse=True)
async def _closed_client() -> AsyncIterator[None]:
    yield
    await close_shared_client()


@pytest.mark.parametrize("yaml", [yaml for yaml in blocks("yaml") if not parse(yaml).tools + parse(yaml).mcp])
async def test_every_example_runs(provider: Provider, yaml: str) -> None:
    told = Told(job_for(provider, "cats", yaml))

    assert await run(told.job, told)
    assert not [line for line in told.logs if "no effect" in line or "stays as it is" in line]


async def test_the_messages_of_the_first_example_are_those_shown(provider: Provider) -> None:
    told = Told(job_for(provider, "cats", blocks("yaml")[0]))

    await run(told.job, told)

    asked = ["".join(f"{who}: {what}\n" for who, what in messages(asked)) for asked in provider.asked]
    assert "\n".join(asked) == blocks("text")[0]


def test_examples_with_tools_and_servers_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(blocks("python")[0])
    configured = {"allow_tools": True, **tomllib.loads(blocks("toml")[0])}
    settings = msgspec.structs.replace(msgspec.convert(configured, Settings), agent_root=tmp_path)
    foreign = [yaml for yaml in blocks("yaml") if parse(yaml).tools + parse(yaml).mcp]

    prepared = [RUNNER.prepare(Submission(prompt="x", agent_yaml=yaml), settings) for yaml in foreign]

    assert [(done.request.tools_hash is not None, done.request.mcp) for done in prepared] == [
        (True, ()),
        (False, ("clock",)),
    ]


def test_every_key_stands_in_the_guide() -> None:
    assert TEXT.endswith(tables())
