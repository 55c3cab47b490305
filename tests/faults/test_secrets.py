"""The provider's key is the server's alone: no agent, log, event or file ever has it."""

from pathlib import Path

import pytest

from tests.faults.ward import Ward, ward
from tests.live import descendants, processes_with
from tests.provider import Fail, Say

pytestmark = pytest.mark.slow

PROMPT = "Keep it to yourself."


def test_the_providers_key_is_nowhere_but_in_the_server(tmp_path: Path) -> None:
    with ward(tmp_path) as place:
        place.provider.script(Fail(401, "Your key is not known here."), Say())
        refused, told = place.submit(None, PROMPT), place.submit("tells", PROMPT)
        ends = [place.live.wait_for_end(job_id, 60) for job_id in (refused, told)]
        running = place.calling("escapes", PROMPT + " For ever.", calls=4)

        key = place.provider.key
        answers = [place.live.http.get(f"/api/v1/runs/{told}/result").text, *_events(place, [refused, told])]
        pids = descendants(place.live.pid)
        place.cancel(running)
        assert place.live.terminate() == 0

    assert len(pids) >= 6
    assert [end["status"] for end in ends] == ["failed", "succeeded"]
    assert "OUTLAST_RUN_ID" in answers[0]
    assert [answer for answer in answers if key in answer] == []
    assert [
        file for file in tmp_path.rglob("*") if file.is_file() and key.encode() in file.read_bytes()
    ] == []


def test_no_process_below_the_server_was_started_with_the_providers_key(tmp_path: Path) -> None:
    with ward(tmp_path) as place:
        place.calling(None, PROMPT)
        place.calling("escapes", PROMPT + " For ever.", calls=4)

        assert len(place.left()) >= 6
        assert processes_with(place.provider.key) == [place.live.pid]


def _events(place: Ward, ids: list[str]) -> list[str]:
    return [place.live.http.get(f"/api/v1/runs/{job_id}/stream").text for job_id in ids]
