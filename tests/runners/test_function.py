"""Functions of the operator's: looked at by the server, called by the agent process."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.config import AgentConfig, Settings
from outlast.errors import UnknownAgent
from outlast.runners import function, function_body
from outlast.runners.protocol import AgentFailed, Job, Submission
from outlast.runs import Isolation, Progress, RunRequest

MODULE = """
import asyncio, threading
from json import dumps
raise_later = None

def plain(prompt): return prompt.upper()
def with_run(prompt, run):
    run.log(f"in {threading.current_thread() is threading.main_thread()}")
    return {"prompt": prompt}
def with_option(prompt, temperature=0.5): return temperature
def with_named_run(prompt, run=None): return run is not None
async def later(prompt): await asyncio.sleep(0); return [prompt]
async def later_with_run(prompt, run): run.token(prompt); return prompt
def hands_out_later(prompt): return later(prompt)
def fails(prompt): raise ValueError("no such file")
class Agent:
    def __call__(self, prompt): return f"called with {prompt}"
    def method(self, prompt): return f"method with {prompt}"
agent = Agent()
number: int = 7
if True:
    conditional = plain
"""


class Seen:
    """A context that remembers."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.logged: list[str] = []
        self.tokens: list[str] = []

    def log(self, message: str) -> None:
        self.logged.append(message)

    def progress(self, progress: Progress) -> None: ...

    def token(self, text: str) -> None:
        self.tokens.append(text)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("raise RuntimeError('imported by the server')\n")
    (tmp_path / "package" / "inner.py").write_text("def go(prompt): ...\n")
    (tmp_path / "star.py").write_text("from json import *\n")
    (tmp_path / "broken.py").write_text("def go(:\n")
    yield tmp_path
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path.resolve())]
    sys.modules.pop("mine", None)


def prepared(root: Path, named: str) -> RunRequest:
    settings = Settings(agent_root=root, agents={"a": AgentConfig(named)})
    ready = function.prepare(Submission(prompt="Hello", agent="a", metadata={"x": 1}), settings)
    assert ready.kind is Isolation.ISOLATED
    return ready.request


@pytest.mark.parametrize(
    "named",
    [
        "mine:plain", "mine:later", "mine:agent", "mine:Agent", "mine:agent.method", "mine:dumps", "mine:conditional",
        "package.inner:go", "star:dumps", "broken:go",
    ],
)  # fmt: skip
def test_what_may_be_there_is_accepted_without_being_imported(root: Path, named: str) -> None:
    assert prepared(root, named).function == named
    assert "mine" not in sys.modules
    assert "package" not in sys.modules


@pytest.mark.parametrize(
    "named",
    ["mine:missing", "mine", "mine:", ":plain", "mine:a b", "missing:go", "json:dumps", "package.missing:go",
     "mine.plain:go", "../mine:plain", "os:system", "mine:plain()"],
)  # fmt: skip
def test_what_is_seen_to_be_missing_is_refused(root: Path, named: str) -> None:
    with pytest.raises(UnknownAgent):
        prepared(root, named)


def test_a_missing_function_names_the_nearest(root: Path) -> None:
    with pytest.raises(UnknownAgent, match="Did you mean 'plain'"):
        prepared(root, "mine:plan")


def test_an_edit_of_the_module_is_seen(root: Path) -> None:
    with pytest.raises(UnknownAgent):
        prepared(root, "mine:brand_new")
    (root / "mine.py").write_text(MODULE + "\ndef brand_new(prompt): ...\n")

    assert prepared(root, "mine:brand_new").function == "mine:brand_new"


def call(root: Path, named: str) -> tuple[object, Seen]:
    request = RunRequest(prompt="Hello", runner="function", function=named)
    job = Job(run_id="run_1", attempt_id="at_1", attempt=1, request=request, agent_root=str(root))
    seen = Seen(job)
    return asyncio.run(_call(job, seen)), seen


async def _call(job: Job, seen: Seen) -> object:
    return await function_body.run(job, seen)


@pytest.mark.parametrize(
    ("named", "result"),
    [
        ("mine:plain", "HELLO"),
        ("mine:with_run", {"prompt": "Hello"}),
        ("mine:with_option", 0.5),
        ("mine:with_named_run", True),
        ("mine:later", ["Hello"]),
        ("mine:later_with_run", "Hello"),
        ("mine:hands_out_later", ["Hello"]),
        ("mine:agent", "called with Hello"),
        ("mine:agent.method", "method with Hello"),
        ("mine:dumps", '"Hello"'),
    ],
)
def test_a_callable_of_any_kind_is_called(root: Path, named: str, result: object) -> None:
    assert call(root, named)[0] == result


def test_a_plain_function_does_not_hold_the_loop_up(root: Path) -> None:
    _, seen = call(root, "mine:with_run")

    assert threading.current_thread() is threading.main_thread()
    assert seen.logged == ["in False"]


def test_an_async_function_reaches_the_run(root: Path) -> None:
    _, seen = call(root, "mine:later_with_run")

    assert seen.tokens == ["Hello"]


def test_an_error_of_the_function_is_its_own(root: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        call(root, "mine:fails")


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("mine:gone", "AttributeError"),
        ("gone:go", "ModuleNotFoundError"),
        ("broken:go", "SyntaxError"),
        ("package.inner:go", "imported by the server"),
        ("mine:number", "cannot be called"),
    ],
)
def test_what_cannot_be_loaded_fails_the_run_by_name(root: Path, named: str, words: str) -> None:
    with pytest.raises(AgentFailed, match=words) as failed:
        call(root, named)

    assert failed.value.code == "agent_not_loadable"
