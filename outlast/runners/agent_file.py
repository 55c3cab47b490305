"""Agent files as the server sees them: found below the agent root and nowhere else, read whole, looked over.

What an agents.yaml says is its runner's business; here only which framework it names, and so which runner that is.
"""

import os
import stat
from functools import lru_cache
from pathlib import Path

import yaml

from outlast.errors import AgentFileRefused, quoted

DEFAULT = "agents.yaml"
MAX_BYTES = 1024 * 1024


def has_default(root: Path) -> bool:
    """Whether the agent root has an agents.yaml of its own."""
    return os.path.exists(f"{root}/{DEFAULT}")  # noqa: PTH110  # asked on every submit; a Path costs more than the question


def read_default(root: Path) -> str | None:
    """The text of the agent root's agents.yaml, null when there is none."""
    return read(root, DEFAULT) if has_default(root) else None


def read(root: Path, name: str) -> str:
    """The text of an agent file that a client named; `AgentFileRefused` says why not."""
    data = _read_bytes(_resolve(root, name), name)
    if len(data) > MAX_BYTES:
        raise AgentFileRefused(f"Agent file {quoted(name)} is larger than {MAX_BYTES} bytes.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AgentFileRefused(f"Agent file {quoted(name)} is not UTF-8 text.") from error


def _resolve(root: Path, name: str) -> Path:
    try:
        path = (root / name).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise AgentFileRefused(f"Agent file {quoted(name)} cannot be found under that name.") from error
    if not path.is_relative_to(root):
        raise AgentFileRefused(
            f"Agent file {quoted(name)} lies outside of the agent root; only files below it can be run."
        )
    if path.suffix not in (".yaml", ".yml"):
        raise AgentFileRefused(f"Agent file {quoted(name)} is not named .yaml or .yml.")
    return path


def _read_bytes(path: Path, name: str) -> bytes:
    try:
        # A pipe must not hold the server up, and what was a file when it was resolved may be a link by now.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise AgentFileRefused(f"There is no agent file {quoted(name)} in the agent root.") from error
    except OSError as error:
        raise AgentFileRefused(f"Agent file {quoted(name)} cannot be read: {error.strerror}.") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise AgentFileRefused(f"Agent file {quoted(name)} is not a file.")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)


@lru_cache(maxsize=16)
def framework_in(text: str) -> str | None:
    """The framework that an agents.yaml names at its top level, null when it names none or is not YAML.

    Reads the parser's events and stops at the key: nothing is built. A text longer than an agent file may be is not
    read at all, since that takes seconds. Whether the text makes sense, its runner says.
    """
    if len(text) > MAX_BYTES:
        return None
    depth, key = 0, ""
    try:
        for event in yaml.parse(text, yaml.CSafeLoader):
            match event:
                case yaml.CollectionStartEvent():
                    depth, key = depth + 1, ""
                case yaml.CollectionEndEvent():
                    depth -= 1
                case yaml.ScalarEvent() if depth == 1 and key == "framework":
                    return str(event.value) or None
                case yaml.ScalarEvent() if depth == 1:
                    key = "" if key else event.value
                case yaml.AliasEvent() if depth == 1:
                    key = ""
                case _:
                    pass
    except yaml.YAMLError:
        return None
    return None
