"""Which runner runs what."""

from pathlib import Path

import pytest

from outlast.config import AgentConfig, Settings
from outlast.errors import (
    AgentFileRefused,
    BadRequest,
    FrameworkNotInstalled,
    InvalidBody,
    UnknownAgent,
    UnknownFramework,
)
from outlast.runners.protocol import Prepared, Runner, Submission
from outlast.runners.registry import BUILT_IN, INSTALLABLE, Registry
from outlast.runs import Isolation, RunRequest

TEAM = "framework: {}\nroles: {{a: {{role: A, goal: b, backstory: c}}}}\n"


def _prepare(submission: Submission, settings: Settings) -> Prepared:
    """A runner that keeps what it was handed."""
    request = RunRequest(
        prompt=submission.prompt,
        runner="builtin",
        framework=submission.framework or "",
        agent_file=submission.agent_file,
        agent_yaml=submission.agent_yaml,
    )
    return Prepared(request, Isolation.SHARED)


BUILTIN = Runner(name="builtin", version="1", prepare=_prepare, entry="x:run")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    settings = Settings(agent_root=tmp_path, agents={"writer": AgentConfig("team:write")})
    (tmp_path / "team.py").write_text("def write(prompt): ...\n")
    return Registry(settings, (BUILTIN, *(runner for runner in BUILT_IN if runner.name != "builtin")))


def resolve(registry: Registry, **asked: str) -> RunRequest:
    return registry.resolve(Submission(prompt="Hello", **asked)).request  # type: ignore[arg-type]  # all are texts


def test_a_bare_prompt_goes_to_the_builtin_runner_as_praisonai(registry: Registry) -> None:
    request = resolve(registry)

    assert (request.runner, request.framework) == ("builtin", "praisonai")
    assert request.agent_yaml is None


@pytest.mark.parametrize("name", ["builtin", "praisonai", " PraisonAI "])
def test_the_builtin_runner_answers_to_both_of_its_names(registry: Registry, name: str) -> None:
    assert resolve(registry, framework=name).runner == "builtin"


def test_a_runner_of_praisonais_own_goes_before_the_builtin_one(tmp_path: Path) -> None:
    def own(submission: Submission, settings: Settings) -> Prepared:
        return Prepared(RunRequest(prompt=submission.prompt, runner="praisonai"), Isolation.ISOLATED)

    added = Runner(name="praisonai", version="4", prepare=own, entry="x:run")
    registry = Registry(Settings(agent_root=tmp_path), (BUILTIN, added))

    assert resolve(registry).runner == "praisonai"
    assert resolve(registry, framework="builtin").runner == "builtin"


def test_the_requests_framework_goes_before_the_files_and_that_before_the_default(
    registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "agents.yaml").write_text(TEAM.format("crewai"))

    assert resolve(registry, framework="praisonai").runner == "builtin"
    with pytest.raises(FrameworkNotInstalled, match="outlast runner add crewai"):
        resolve(registry)


def test_the_default_file_is_used_when_it_is_there(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "agents.yaml").write_text(TEAM.format("praisonai"))

    assert resolve(registry).agent_yaml == TEAM.format("praisonai")


def test_runners_without_yaml_ignore_the_default_file(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "agents.yaml").write_text(TEAM.format("crewai"))

    assert resolve(registry, framework="echo").runner == "echo"
    assert resolve(registry, agent="writer").runner == "function"


def test_inline_yaml_goes_before_a_named_file(registry: Registry) -> None:
    request = resolve(registry, agent_yaml=TEAM.format("praisonai"), agent_file="missing.yaml")

    assert request.agent_yaml == TEAM.format("praisonai")


def test_a_named_file_that_is_missing_is_refused_whatever_runs_it(registry: Registry) -> None:
    for framework in ("praisonai", "echo"):
        with pytest.raises(AgentFileRefused):
            resolve(registry, framework=framework, agent_file="agents.yaml")


@pytest.mark.parametrize("framework", [name for name in INSTALLABLE if name != "praisonai"])
def test_a_known_framework_names_the_command_that_installs_it(registry: Registry, framework: str) -> None:
    with pytest.raises(FrameworkNotInstalled, match=f"outlast runner add {framework}`"):
        resolve(registry, framework=framework.replace("-", "_").upper())


def test_an_unknown_framework_names_the_nearest(registry: Registry) -> None:
    with pytest.raises(UnknownFramework, match="Did you mean 'langgraph'"):
        resolve(registry, framework="langraph")


def test_an_agent_is_a_function_and_nothing_else(registry: Registry) -> None:
    request = resolve(registry, agent="writer")

    assert (request.runner, request.function, request.agent) == ("function", "team:write", "writer")
    assert resolve(registry, agent="writer", framework="function").runner == "function"
    with pytest.raises(InvalidBody):
        resolve(registry, agent="writer", framework="crewai")


def test_an_unknown_agent_names_the_nearest(registry: Registry) -> None:
    with pytest.raises(UnknownAgent, match="Did you mean 'writer'"):
        resolve(registry, agent="writr")
    with pytest.raises(UnknownAgent, match="writer"):
        resolve(registry, framework="function")


def test_reading_yaml_is_foreseen(registry: Registry, tmp_path: Path) -> None:
    def foreseen(**asked: str) -> bool:
        return registry.reads_yaml(Submission(prompt="Hello", **asked))  # type: ignore[arg-type]  # all are texts

    assert not foreseen()
    assert foreseen(agent_yaml="a: 1")
    assert foreseen(agent_file="x.yaml")
    (tmp_path / "agents.yaml").write_text("a: 1")
    assert foreseen()
    assert not foreseen(framework="echo")
    assert not foreseen(agent="writer")


@pytest.mark.parametrize("name", ["\0", "a" * 300, "../../etc", "🦜"])
@pytest.mark.parametrize("field", ["framework", "agent", "agent_file"])
def test_nonsense_is_refused_in_a_short_sentence(registry: Registry, field: str, name: str) -> None:
    with pytest.raises(BadRequest) as refused:
        resolve(registry, **{field: name})

    assert len(refused.value.detail) < 300


@pytest.mark.parametrize("field", ["agent_yaml", "agent_file"])
def test_an_agent_by_name_and_an_agents_yaml_exclude_each_other(registry: Registry, field: str) -> None:
    with pytest.raises(InvalidBody, match=f"'writer'.* {field} "):
        resolve(registry, agent="writer", **{field: "agents.yaml"})
