"""The database dies for good and its standby takes over, while runs flow."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.crowd import Crowd
from tests.faults.fleet import Fleet, fetch
from tests.live import wait_until
from tests.postgres import Postgres, newest
from tests.provider import Provider

pytestmark = pytest.mark.long

UNSENT_S = 1.0
"""For so long the standby hears nothing before the primary dies, where nobody waits for it."""


class Pair:
    """A primary, its standby, and a fleet that knows the addresses of both."""

    def __init__(self, root: Path, primary: Postgres, standby: Postgres, provider: Provider) -> None:
        self.primary, self.standby = primary, standby
        self._name = primary.database().rpartition("/")[2]
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        standby.follow(primary)
        url = f"postgresql://postgres@{hosts}/{self._name}?target_session_attrs=read-write"
        self.fleet = Fleet(root, primary, provider, servers=1, workers=2, url=url)

    def wait_for_standby(self) -> None:
        """From here on a commit is acknowledged when the standby has it, too."""
        self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.execute("SELECT pg_reload_conf()")
        wait_until(
            lambda: self.fleet.fetch("SELECT sync_state FROM pg_stat_replication")[0][0] == "sync",
            10,
            lambda: "the standby to be a synchronous one",
        )

    def standby_has(self, job_id: str) -> bool:
        url = self.standby.url(self._name)
        return bool(fetch(url, "SELECT 1 FROM outlast.runs WHERE id = $1", job_id))

    def part(self) -> None:
        """From here on the standby hears nothing."""
        self.standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
        self.standby.execute("SELECT pg_reload_conf()")
        wait_until(
            lambda: not self.fleet.fetch("SELECT 1 FROM pg_stat_replication"), 10, lambda: "them to part"
        )

    def fail_over(self) -> None:
        self.primary.kill()
        self.standby.promote()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Provider() as provider, Postgres(newest()) as primary:
        standby = Postgres(newest())
        try:
            pair = Pair(tmp_path, primary, standby, provider)
            try:
                pair.fleet.start()
                yield pair
                pair.fleet.database = standby
                pair.fleet.mend()
            finally:
                pair.fleet.close()
        finally:
            standby.remove()


def test_a_synchronous_standby_has_all_that_was_accepted(pair: Pair) -> None:
    many = pair.fleet
    pair.wait_for_standby()
    staying, _ = many.running("works", "6 s, over the change")
    with Crowd(many.servers, framework="echo") as crowd:
        crowd.has_accepted(50)
        pair.fail_over()
        crowd.has_accepted(50, 60)

    crowd.check(many)
    assert {said for said in crowd.answers if isinstance(said, int)} <= {202, 503}
    assert many.ended(staying, 60)["status"] == "succeeded"


def test_what_an_asynchronous_standby_lacks_is_lost_and_nobody_writes_to_what_it_took_back(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    many = pair.fleet
    with Crowd(many.servers, framework="echo") as crowd:
        crowd.has_accepted(50)
        queued = many.submit("works", "8 s, claimed behind the standby's back", delay=4)
        wait_until(lambda: pair.standby_has(queued), 3, lambda: "the standby to hear of the run")
        pair.part()
        assert _attempt_id(many, queued) is None
        many.until(lambda: _attempt_id(many, queued) is not None, 20, "the delayed run to start")
        stale = _attempt_id(many, queued)
        time.sleep(UNSENT_S)
        pair.fail_over()
        crowd.has_accepted(50, 60)

    ended = many.ended(queued, 60)
    rows = many.fetch("SELECT id FROM outlast.runs WHERE id = ANY($1)", list(crowd.accepted.values()))
    attempts = many.fetch("SELECT id FROM outlast.attempts WHERE run_id = $1", queued)
    with capsys.disabled():
        print(f" accepted {len(crowd.accepted)}, lost {len(crowd.accepted) - len(rows)}", end=" ")  # noqa: T201
    assert len(rows) < len(crowd.accepted)
    assert ended["status"] == "succeeded"
    assert stale not in {row[0] for row in attempts}
    assert {said for said in crowd.answers if isinstance(said, int)} <= {202, 503}


def _attempt_id(many: Fleet, job_id: str) -> str | None:
    found: str | None = many.fetch("SELECT attempt_id FROM outlast.runs WHERE id = $1", job_id)[0][0]
    return found
