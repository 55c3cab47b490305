"""The pages that describe the command line say what the program does, all of it and nothing else."""

import re
from pathlib import Path

import click
import pytest

from outlast import config
from outlast.cli import cli, runs_group
from outlast.commands import exits

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "cli.md").read_text()
COMMANDS, CODES = PAGE.split("## Exit codes")
CONTEXT = click.Context(cli)


def sections(text: str) -> dict[str, str]:
    """What stands under each heading of the third level."""
    parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def command(name: str) -> click.Command:
    found = cli.get_command(CONTEXT, name)
    assert found is not None
    return found


def options(of: click.Command) -> set[str]:
    if isinstance(of, click.Group):
        return {name for part in of.commands.values() for name in options(part)}
    shown = (param for param in of.params if isinstance(param, click.Option) and not param.hidden)
    names = {name for param in shown for name in (*param.opts, *param.secondary_opts)}
    return {name for name in names if name.startswith("--")}


def test_every_command_has_its_heading() -> None:
    assert set(sections(COMMANDS)) == {f"outlast {name}" for name in cli.list_commands(CONTEXT)}


@pytest.mark.parametrize("name", [name for name in cli.list_commands(CONTEXT) if name != "run"])
def test_every_option_is_in_its_commands_section(name: str) -> None:
    said = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", sections(COMMANDS)[f"outlast {name}"]))

    assert options(command(name)) <= said
    assert said <= options(command(name)) | {"--version"}


def test_every_exit_code_has_its_heading() -> None:
    codes = {str(value) for name, value in vars(exits).items() if name.isupper()}

    assert set(sections(CODES)) == codes


@pytest.mark.parametrize("name", cli.list_commands(CONTEXT))
def test_the_short_help_of_every_command_is_said_without_loading_it(name: str) -> None:
    assert command(name).help
    assert f"  {name}  " in cli.get_help(CONTEXT)


def test_run_has_the_commands_for_runs() -> None:
    of_runs = sections(COMMANDS.split("## Other commands")[0])

    assert [f"outlast {name}" for name in [*runs_group.list_commands(CONTEXT), "run"]] == list(of_runs)
    assert runs_group.get_command(CONTEXT, "submit") is command("submit")


def test_the_migration_page_names_every_variable_that_the_server_looks_for() -> None:
    page = (DOCS / "migrate-from-praisonai.md").read_text()
    rows = re.findall(r"^\| (`[A-Z][^|]*) \| ([^|]*) \|", page, flags=re.MULTILINE)
    said = {old: new for olds, new in rows for old in re.findall(r"`([A-Z_]+)", olds)}

    for old, new in config._PEER_VARIABLES.items():
        assert new in said[old], old


def test_every_option_of_the_migration_page_is_one_of_ours() -> None:
    page = (DOCS / "migrate-from-praisonai.md").read_text()
    submit_rows = page.split("## Commands")[1].split("| `praisonai run status ID`")[0]

    assert set(re.findall(r"--[a-z][a-z-]*", submit_rows)) <= options(command("submit"))
