"""The provider's key is the server's alone: no agent, log, event or file ever has it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.ward import Ward, ward
from tests.live import Live, descendants, processes_with
from tests.provider import Fail, Provider, Say

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
        # Who is not root does not even see the server's own.
        assert set(processes_with(place.provider.key)) <= {place.live.pid}


FILE = """
[upstreams.house]
base_url = "{url}"
key_env = "HOUSE_KEY"
[upstreams.other]
base_url = "{url}"
key_file = "{file}"
[models.fast]
upstream = "house"
model = "gpt-test"
[models.careful]
upstream = "other"
fallback = ["fast"]
[prices.fast]
input_per_mtok = 1
output_per_mtok = 10
"""


def test_the_keys_of_upstreams_are_the_servers_alone_too(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("secret") / "house.key"
    with Provider(key="sk-upstream-0123456789") as provider:
        file.write_text(provider.key)
        (tmp_path / "outlast.toml").write_text(FILE.format(url=provider.base_url, file=file))
        provider.script(
            Fail(401, f"The key {provider.key} is not known."), Say(input_tokens=9, output_tokens=2)
        )
        with Live(tmp_path, {"HOUSE_KEY": provider.key}) as live:
            refused, answered = [live.submit(prompt=PROMPT) for _ in range(2)]
            ends = [live.wait_for_end(job_id, 60) for job_id in (refused, answered)]
            told = [live.http.get(f"/api/v1/runs/{job_id}/stream").text for job_id in (refused, answered)]
            below = processes_with(provider.key)
            assert live.terminate() == 0

    assert {end["status"] for end in ends} == {"failed", "succeeded"}
    assert [end["usage"] for end in ends if "usage" in end] == [
        {"model_calls": 1, "input_tokens": 9, "output_tokens": 2, "cost_usd": 0.000029}
    ]
    assert '"upstream":"house"' in "".join(told)
    assert set(below) <= {live.pid}
    assert provider.key not in "".join(told) + str(ends)
    assert [
        path for path in tmp_path.rglob("*") if path.is_file() and provider.key.encode() in path.read_bytes()
    ] == []


def _events(place: Ward, ids: list[str]) -> list[str]:
    return [place.live.http.get(f"/api/v1/runs/{job_id}/stream").text for job_id in ids]


ALIKE = (
    sys.executable,
    "-c",
    "import ctypes, os, sys; drop = ctypes.CDLL(None).prctl; [drop(24, n) for n in (19, 21, 38)]; "
    "os.execv(sys.argv[1], sys.argv[1:])",
)
"""Start a command without what opens every process to root: CAP_SYS_PTRACE, CAP_SYS_ADMIN and CAP_PERFMON."""
READ = """
import sys
for pid in sys.argv[1:]:
    try:
        open(f"/proc/{pid}/environ", "rb").read()
    except PermissionError:
        continue
    print(pid)
"""


def test_the_servers_environment_is_closed_to_other_processes_of_its_user(tmp_path: Path) -> None:
    with Live(tmp_path, {"OPENAI_API_KEY": "sk-secret"}, starter=ALIKE) as live:
        ended = live.wait_for_end(live.submit(prompt="Hello", framework="echo"))
        worker, *helpers = descendants(live.pid)
        command = [*ALIKE, sys.executable, "-c", READ, *map(str, [live.pid, worker, *helpers])]
        read = subprocess.run(command, capture_output=True, check=True, timeout=30)
        assert live.terminate() == 0

    assert ended["status"] == "succeeded"
    assert helpers
    assert [int(line) for line in read.stdout.split()] == helpers
