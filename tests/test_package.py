"""The package says the same about itself in code and in its metadata."""

import subprocess
import sys
from importlib.metadata import entry_points, metadata, version
from pathlib import Path

import pytest

import outlast


def test_version_in_code_equals_version_in_metadata() -> None:
    assert outlast.__version__ == version("outlast")


def test_the_table_of_contents_is_what_an_agent_needs() -> None:
    assert outlast.__all__ == ["StepError", "StepFailed", "__version__", "tool"]
    assert all(getattr(outlast, name) for name in outlast.__all__)


def test_a_tool_needs_the_standard_library_alone() -> None:
    """It is imported in environments that have nothing else of ours."""
    root = str(Path(__file__).parents[1])
    code = "import sys; sys.path.insert(0, sys.argv[1]); from outlast import tool; print(tool(len)('four'))"

    said = subprocess.run([sys.executable, "-I", "-S", "-c", code, root], capture_output=True, check=False)

    assert (said.stdout, said.stderr) == (b"4\n", b"")


def test_what_is_not_there_is_said_so() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'tol'"):
        outlast.tol  # noqa: B018


def test_license_in_metadata_is_apache_2() -> None:
    assert metadata("outlast")["License-Expression"] == "Apache-2.0"


def test_command_outlast_points_at_the_command_line_module() -> None:
    (command,) = entry_points(group="console_scripts", name="outlast")

    assert command.value == "outlast.cli:main"
