"""The `function` runner's server face: an agent that is a callable of the operator's, named in outlast.toml.

The operator's code is looked at, never imported: what can be seen to be missing is refused at submit.
"""

import ast
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from outlast import __version__
from outlast.config import Settings
from outlast.errors import UnknownAgent, did_you_mean
from outlast.runners.agents import named
from outlast.runners.protocol import Prepared, Runner, Submission
from outlast.runs import Isolation, RunRequest


def prepare(submission: Submission, settings: Settings) -> Prepared:
    """Fix which callable the run calls; `UnknownAgent` if there is none to call."""
    name, agent = named(submission, settings, "function")
    assert agent.function is not None
    _check(name, agent.function, settings.agent_root)
    request = RunRequest(
        prompt=submission.prompt,
        runner="function",
        runner_version=__version__,
        framework="function",
        agent=name,
        function=agent.function,
        config=submission.config,
        session_id=submission.session_id,
        metadata=submission.metadata,
    )
    return Prepared(request, Isolation.ISOLATED)


RUNNER = Runner(
    name="function",
    version=__version__,
    prepare=prepare,
    entry="outlast.runners.function_body:run",
    needs_model=False,
)


def _check(name: str, function: str, root: Path) -> None:
    module, colon, attribute = function.partition(":")
    if not colon or not _is_dotted_name(module) or not _is_dotted_name(attribute):
        raise UnknownAgent(f"Agent {name} is to call {function!r}, which is not of the form module:callable.")
    source = _find(module, root)
    if source is None:
        raise UnknownAgent(
            f"Agent {name} is to call {function!r}, but the agent root has no module {module}."
        )
    names = _names(source, source.stat().st_mtime_ns)
    if names is not None and attribute.partition(".")[0] not in names:
        raise UnknownAgent(
            f"Agent {name} is to call {function!r}, but module {module} defines no {attribute}. "
            f"{did_you_mean(attribute, sorted(names))}"
        )


def _is_dotted_name(text: str) -> bool:
    return bool(text) and all(part.isidentifier() for part in text.split("."))


def _find(module: str, root: Path) -> Path | None:
    """The module's file, found as an import would find it below the agent root, without importing its parents."""
    places: list[str] | None = [str(root.resolve())]
    spec: ModuleSpec | None = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = None if places is None else PathFinder.find_spec(name, places)
        if spec is None:
            return None
        places = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


@lru_cache(maxsize=64)
def _names(source: Path, changed_ns: int) -> frozenset[str] | None:
    """What a module binds at its top level, as far as its text shows; null when that cannot be told."""
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # an extension module, or an error that the run will name with its line
    bound: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                bound.add(name)
            case ast.ImportFrom(names=[ast.alias(name="*")]):
                return None
            case ast.alias(name=name, asname=asname):
                bound.add(asname or name.partition(".")[0])
    return None if "__getattr__" in bound else frozenset(bound)
