"""The files for containers and systemd say only what the program understands."""

import configparser
import re
from pathlib import Path

import click
import msgspec
import pytest
import yaml

from outlast import config
from outlast.cli import cli
from outlast.companion import LAST_S
from tests.operations.pages import blocks

ROOT = Path(__file__).parents[2]
STREAMS_S = 5


class Deploy(msgspec.Struct, frozen=True):
    replicas: int = 1


class Service(msgspec.Struct):
    image: str
    command: list[str] = []
    environment: dict[str, str] = {}
    stop_grace_period: str = "10s"
    read_only: bool = False
    deploy: Deploy = Deploy()


class Compose(msgspec.Struct):
    services: dict[str, Service]


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    return msgspec.convert(yaml.safe_load((ROOT / "compose.yaml").read_text()), Compose).services


def ours(services: dict[str, Service]) -> list[Service]:
    return [service for service in services.values() if service.image == "outlast"]


def understood(words: list[str]) -> None:
    """Let the command's own parser read them."""
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None
    command.make_context(words[0], words[1:])


def known(variables: set[str]) -> set[str]:
    return variables & {*config._VARIABLES.values(), *config._READ_ELSEWHERE}


def least_stop_s(grace_s: str) -> float:
    return float(grace_s) + config.Settings().stop_grace_s + LAST_S + STREAMS_S


def test_there_are_two_servers_and_three_workers_and_one_that_migrates(services: dict[str, Service]) -> None:
    assert {name: service.deploy.replicas for name, service in services.items()} == {
        "postgres": 1,
        "migrate": 1,
        "api": 2,
        "worker": 3,
    }


def test_every_command_and_variable_of_the_services_is_one_of_ours(services: dict[str, Service]) -> None:
    for service in ours(services):
        understood(service.command)
        assert known(set(service.environment)) == set(service.environment)


def test_what_is_stopped_has_the_time_to_drain(services: dict[str, Service]) -> None:
    for service in ours(services):
        given_s = float(service.stop_grace_period.removesuffix("s"))
        assert given_s >= least_stop_s(service.environment["OUTLAST_GRACE_S"])


def test_the_image_is_told_nothing_that_nobody_reads() -> None:
    said = set(re.findall(r"\b(OUTLAST_\w+)", (ROOT / "Dockerfile").read_text()))

    assert known(said) == said
    assert "USER 10001" in (ROOT / "Dockerfile").read_text()


def test_the_image_has_the_versions_that_were_tested_and_a_driver() -> None:
    image, tested = [
        set(re.findall(r"^([\w.\[\]-]+==\S+)", (ROOT / "requirements" / name).read_text(), re.M))
        for name in ("image.lock", "dev.lock")
    ]

    assert image <= tested
    assert any(pin.startswith("asyncpg==") for pin in image)


def test_the_unit_starts_a_command_of_ours_and_gives_it_time_to_drain() -> None:
    (unit,) = blocks("deploy.md", "ini")
    environment = dict(re.findall(r"^Environment=(\w+)=(\S+)$", unit, re.M))
    service = configparser.ConfigParser(strict=False, interpolation=None)
    service.optionxform = str  # type: ignore[assignment, method-assign]  # systemd minds the case
    service.read_string(unit)

    program, *words = service["Service"]["ExecStart"].split()
    assert program.endswith("/outlast")
    understood(words)
    assert known(set(environment)) == set(environment)
    assert float(service["Service"]["TimeoutStopSec"]) >= least_stop_s(environment["OUTLAST_GRACE_S"])
