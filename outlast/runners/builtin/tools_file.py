"""The operator's `tools.py`, as a text: which of its functions an agents.yaml may name. Never imported here.

A text may name what `tools.py` defines at its top level, and nothing that it merely imports: a client must not reach
`subprocess.run` because a tool uses it. With `__all__`, exactly the names listed there are offered.
"""

import ast
import hashlib
from pathlib import Path

import msgspec


class ToolsFile(msgspec.Struct, frozen=True):
    """A tools.py as it was read."""

    path: Path
    source: bytes
    names: frozenset[str]
    """What it offers."""

    @property
    def hash(self) -> str:
        """SHA-256 of its bytes: what is fixed at submit."""
        return hashlib.sha256(self.source).hexdigest()


def load(agent_root: Path) -> ToolsFile | None:
    """The `tools.py` under the agent root, None if there is none. A broken one is a `SyntaxError` or `OSError`."""
    path = agent_root / "tools.py"
    if not path.is_file():
        return None
    source = path.read_bytes()
    return ToolsFile(path, source, _offered(ast.parse(source, filename=str(path))))


def _offered(module: ast.Module) -> frozenset[str]:
    listed = _listed(module)
    if listed is not None:
        return listed
    defined = (node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(name for name in defined if not name.startswith("_"))


def _listed(module: ast.Module) -> frozenset[str] | None:
    for node in module.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id="__all__")], value=ast.List(elts=names) | ast.Tuple(elts=names)
            ):
                return frozenset(
                    name.value
                    for name in names
                    if isinstance(name, ast.Constant) and isinstance(name.value, str)
                )
    return None
