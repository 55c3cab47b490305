"""A worker on another machine, with the package, the database's address and a provider key; and its cables cut."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fleet import LEASE_S, SLACK_S, TAKEOVER_S, Fleet, Worker
from tests.faults.machine import Machine, why_not
from tests.postgres import Postgres, newest
from tests.provider import Provider

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with Machine() as machine:
        yield machine


@pytest.fixture(scope="module")
def wide(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A server and a worker here, a worker there."""
    root = tmp_path_factory.mktemp("wide")
    addresses = f"127.0.0.1,{machine.to_database.here}"
    with (
        Postgres(newest(), {"listen_addresses": addresses}) as database,
        Provider(host=machine.to_provider.here) as provider,
    ):
        database.admit(f"{machine.to_database.there}/32")
        ours = Fleet(root, database, provider, servers=1, workers=1)
        there = {
            "OUTLAST_DATABASE_URL": ours.url.replace("127.0.0.1", machine.to_database.here),
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": provider.key,
            **{name: ours.env[name] for name in ("OUTLAST_LEASE_S", "OUTLAST_AGENT_ROOT")},
        }
        ours.workers.append(Worker(root, "far", there, machine.starter))
        try:
            ours.start()
            yield ours
        finally:
            ours.close()


@pytest.fixture
def far(wide: Fleet) -> Iterator[Worker]:
    """The worker on the other machine."""
    yield wide.workers[1]
    wide.mend()


def test_a_second_machine_needs_the_package_the_database_and_a_key(
    wide: Fleet, far: Worker, tmp_path: Path
) -> None:
    bare = wide.held_by(far, "What is 2+2?")
    isolated = wide.held_by(far, str(tmp_path / "notes"), agent="calls")

    assert wide.ended(bare)["status"] == "succeeded"
    assert wide.result(bare) == "Hello."
    wide.until((tmp_path / "notes").exists, 20, "the isolated agent to reach the model")
    assert (tmp_path / "notes").read_text().startswith("200")
    assert wide.attempt(isolated) == 1


def test_a_worker_cut_off_from_the_database_stops_its_agents_in_time_and_comes_back(
    wide: Fleet, far: Worker, machine: Machine
) -> None:
    job_id = wide.held_by(far, "cut off", agent="stays")
    agents = far.agents()
    assert agents

    machine.to_database.cut()
    cut_at = time.monotonic()
    gone_at = wide.until(lambda: not agents & far.agents(), 10, "its agents to be stopped")
    taken_at = wide.until(lambda: wide.attempt(job_id) == 2, 20, "the run to start elsewhere")
    machine.to_database.mend()
    back_at = wide.until(lambda: far.name in wide.working(), 40, "the worker to come back")

    assert gone_at - cut_at < LEASE_S + SLACK_S / 3
    assert taken_at - cut_at < TAKEOVER_S + SLACK_S
    assert back_at - taken_at < 15
    assert wide.result(_ended(wide, job_id)) == "attempt 2"
    again = wide.held_by(far, "What is 2+2, again?")
    assert wide.ended(again)["status"] == "succeeded"


def test_a_worker_cut_off_from_the_provider_keeps_its_run_and_goes_on(
    wide: Fleet, far: Worker, machine: Machine, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    job_id = wide.held_by(far, str(notes), agent="calls")
    wide.until(notes.exists, 20, "a first answer")

    machine.to_provider.cut()
    other = wide.submit(None, "cut off", 0)
    time.sleep(LEASE_S + 1)  # as long as would cost a worker its lease, were it the database
    machine.to_provider.mend()
    answered = len(notes.read_text().split())
    wide.until(lambda: len(notes.read_text().split()) > answered + 3, 30, "its calls to go on")

    assert wide.attempt(job_id) == 1
    assert set(notes.read_text().split()) == {"200"}
    assert wide.ended(other)["status"] == "succeeded"


def _ended(wide: Fleet, job_id: str) -> str:
    assert wide.ended(job_id)["status"] == "succeeded"
    return job_id
