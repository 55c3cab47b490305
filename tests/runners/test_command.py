"""Programs of the operator's: named in outlast.toml, looked for at submit, never named by a client."""

from pathlib import Path

import msgspec
import pytest

from outlast.config import AgentConfig, Settings, load
from outlast.errors import ConfigError, InvalidBody, UnknownAgent
from outlast.runners.protocol import Submission
from outlast.runners.registry import Registry
from outlast.runs import Isolation, Program


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "mine.sh").write_text("#!/bin/sh\n")
    (tmp_path / "mine.sh").chmod(0o700)
    agents = {
        "shell": AgentConfig(command=("sh", "-c", "echo hello")),
        "mine": AgentConfig(command=("./mine.sh",)),
        "gone": AgentConfig(command=("./gone.sh",)),
        "writer": AgentConfig("team:write"),
    }
    return Registry(Settings(agent_root=tmp_path, agents=agents))


def ask(registry: Registry, agent: str | None, **fields: str) -> Program:
    submission = msgspec.convert({"prompt": "Hi", "agent": agent, **fields}, Submission)
    prepared = registry.resolve(submission)
    assert (prepared.kind, prepared.request.runner) == (Isolation.ISOLATED, "command")
    assert prepared.request.program is not None
    return prepared.request.program


def test_the_line_of_the_operator_is_fixed_at_submit(registry: Registry) -> None:
    assert ask(registry, "shell") == Program((b"sh", b"-c", b"echo hello"))
    assert ask(registry, "mine", framework="command") == Program((b"./mine.sh",))


def test_what_cannot_run_is_refused_at_submit(registry: Registry) -> None:
    with pytest.raises(UnknownAgent, match=r"Agent gone is to start './gone.sh', and there is no such"):
        ask(registry, "gone")
    with pytest.raises(UnknownAgent, match="send one of gone, mine, shell as `agent`"):
        ask(registry, None, framework="command")
    with pytest.raises(InvalidBody, match="'shell' is a command of this server; framework 'function'"):
        ask(registry, "shell", framework="function")
    with pytest.raises(InvalidBody, match=r"'shell' is a command .* agent_yaml says nothing"):
        ask(registry, "shell", agent_yaml="a: 1")


def test_a_client_can_name_no_program_of_its_own() -> None:
    assert {"command", "argv", "program", "env", "cwd"}.isdisjoint(Submission.__struct_fields__)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('command = ["x"]\nfunction = "m:f"', "It needs a function or a command"),
        ('description = "neither"', "It needs a function or a command"),
        ("command = []", "Its command is empty"),
        ('command = "python agent.py"', "Expected `array"),
        ('command = ["a\\u0000b"]', "no NUL"),
        ('function = "m:f"\nenv = {A = "1"}', "env is for a command"),
    ],
)
def test_a_wrong_table_is_named_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outlast.toml").write_text(f"[agents.mine]\n{table}\n")

    with pytest.raises(ConfigError, match=r"\[agents.mine\] in outlast.toml is wrong") as refused:
        load({})

    assert words in refused.value.detail


def test_a_command_is_read_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outlast.toml").write_text('[agents.mine]\ncommand = ["node", "a.js"]\nenv = {REGION = "eu"}\n')

    agent = load({}).agents["mine"]

    assert (agent.command, agent.env) == (("node", "a.js"), {"REGION": "eu"})
