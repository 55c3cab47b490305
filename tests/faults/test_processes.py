"""A server that is killed or stopped leaves no process behind, whatever its agents have started."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.agents.callables as agents
from outlast.worker import marks, processes
from tests import invariants
from tests.live import Live, processes_with, wait_until

CONFIG = '[agents.stays]\nfunction = "callables:stays"\n'


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    (tmp_path / "outlast.toml").write_text(CONFIG)
    live = Live(tmp_path, {"OUTLAST_AGENT_ROOT": str(Path(agents.__file__).parent), "OUTLAST_GRACE_S": "0.2"})
    with live:
        yield live
    invariants.check(live.data_dir / "outlast.db")


def test_a_killed_server_takes_its_agents_and_their_daemons_with_it(live: Live) -> None:
    _at_work(live)

    live.kill()

    wait_until(lambda: not _left(live), 10, lambda: f"nothing to be left; there are {_left(live)}")


def test_a_restarted_server_ends_what_a_killed_one_left_before_it_goes_on(live: Live) -> None:
    job_id = _at_work(live)
    os.kill(live.pid, signal.SIGSTOP)
    for fork_server in _helpers(live, "fork-server"):
        os.kill(fork_server, signal.SIGKILL)
    live.kill()
    orphans = _wait_for_agents(live, 4)

    live.start()
    status = live.wait_for_end(job_id)

    assert status["status"] == "succeeded"
    assert live.http.get(f"/api/v1/runs/{job_id}/result").json()["result"] == "attempt 2"
    assert orphans.isdisjoint(_left(live))
    _wait_for_agents(live, 0)


def test_a_stopped_server_hands_its_run_back_and_leaves_nothing(live: Live) -> None:
    job_id = _at_work(live)

    live.terminate()

    assert _left(live) == set()
    live.start()
    assert live.wait_for_end(job_id)["attempt"] == 2


def _at_work(live: Live) -> str:
    job_id = live.submit(prompt="Hello", agent="stays")
    _wait_for_agents(live, 5)
    return job_id


def _wait_for_agents(live: Live, number: int) -> set[int]:
    """The agents' processes, once there are so many: an agent itself and the four of its family."""
    wait_until(
        lambda: len(_agents(live)) == number, 15, lambda: f"{number} processes; there are {_agents(live)}"
    )
    return _agents(live)


def _agents(live: Live) -> set[int]:
    return _left(live) - _helpers(live, "fork-server") - _helpers(live, "host")


def _helpers(live: Live, what: str) -> set[int]:
    return set(processes_with(f"{marks.folder_id(live.data_dir)}:{what}."))


def _left(live: Live) -> set[int]:
    """Every living process that has come from this server or one before it on its folder."""
    folder = marks.folder_id(live.data_dir)
    pids = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    return {pid for pid in pids if marks.bears_brand(pid, folder) and not processes.is_dead(pid)}
