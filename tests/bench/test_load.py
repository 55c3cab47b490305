"""The load generator against the ceiling, for a fraction of a second."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import ceiling
from bench.load import LoadError, drive, get
from bench.server import Server, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start(ceiling.recipe(), Path(tmp_path_factory.mktemp("ceiling")))
    yield running
    running.stop()


def test_every_request_of_a_burst_is_answered_once(server: Server) -> None:
    load = drive(
        server.port, itertools.repeat(server.recipe.submit, 100), expected=202, connections=8, keep=True
    )

    assert len(load.latencies_ns) == 100
    assert len({json.loads(body)["job_id"] for body in load.bodies}) == 100


def test_reading_ends_when_its_time_is_up(server: Server) -> None:
    load = drive(server.port, itertools.repeat(get("/api/v1/runs/run_1")), expected=200, for_s=0.1)

    assert 0.1 <= load.seconds < 10
    assert load.rate > 0


def test_fewer_requests_than_connections_are_enough(server: Server) -> None:
    load = drive(server.port, iter([server.recipe.submit]), expected=202)

    assert len(load.latencies_ns) == 1


def test_an_unexpected_status_is_an_error_not_a_figure(server: Server) -> None:
    with pytest.raises(LoadError, match="Expected 404"):
        drive(server.port, itertools.repeat(get("/"), 3), expected=404)


def test_a_servers_tree_is_weighed_and_ended(tmp_path: Path) -> None:
    running = start(ceiling.recipe(), tmp_path)

    assert running.rss_mb() > 1
    assert running.tree_pss_mb() > 1
    assert running.cpu_s() >= 0

    running.stop()

    assert running.process.returncode is not None
