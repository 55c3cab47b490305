"""What docs/guides/schedules.md shows is what happens."""

import asyncio
import re
import shlex
from pathlib import Path

import msgspec
import pytest

from outlast.api.routes import ROUTES, SCHEDULES
from outlast.commands.schedules import command
from outlast.store.protocol import SCHEDULES_MAX
from tests.api.conftest import Served

GUIDE = (Path(__file__).parents[2] / "docs/guides/schedules.md").read_text(encoding="utf-8")
RUNS = "/api/v1/runs"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


AT, DELAY, BATCH, RESULTS, SCHEDULE = (msgspec.json.decode(block) for block in blocks("json"))


@pytest.mark.parametrize("body", [AT, DELAY])
async def test_runs_of_the_guide_start_later(served: Served, body: dict[str, object]) -> None:
    answer = await served.http.post(RUNS, json=body | {"framework": "echo"})

    assert answer.status_code == 202
    assert (await served.http.get(f"{RUNS}/{answer.json()['job_id']}")).json()["status"] == "queued"


async def test_the_batch_of_the_guide_has_the_results_of_the_guide(served: Served) -> None:
    answer = await served.http.post(f"{RUNS}/batch", json=BATCH)

    assert answer.status_code == 207
    results = answer.json()["results"]
    assert [list(result) for result in results] == [list(result) for result in RESULTS["results"]]
    assert [result["status"] for result in results] == [result["status"] for result in RESULTS["results"]]


async def test_the_schedule_of_the_guide_is_kept(served: Served) -> None:
    answer = await served.http.post(SCHEDULES, json=SCHEDULE)

    assert answer.status_code == 201
    assert SCHEDULE.items() <= answer.json().items()


@pytest.mark.parametrize("code", blocks("python"))
async def test_the_python_of_the_guide_runs(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    monkeypatch.setenv("OUTLAST_URL", served.url)

    await asyncio.to_thread(exec, code, {})

    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2
    assert printed[1] == "True" or all(line.startswith("run_") for line in printed)


async def test_the_command_of_the_guide_runs(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLAST_URL", served.url)
    (line,) = blocks("sh")
    words = shlex.split(line)[2:]

    code = await asyncio.to_thread(command.main, words, standalone_mode=False)

    assert code == 0
    made = (await served.http.get(SCHEDULES)).json()["schedules"][0]
    assert (made["cron"], made["timezone"]) == (SCHEDULE["cron"], "Europe/Berlin")


def test_the_paths_of_the_guide_are_those_that_there_are() -> None:
    told = set(re.findall(rf"`\w+ ({SCHEDULES}[^`]*)`", GUIDE))

    real = {route.path for route in ROUTES if route.path.startswith(SCHEDULES)}
    assert told == real - {f"{SCHEDULES}/{{schedule_id}}/resume"}
    assert f"{SCHEDULES_MAX:,} schedules" in GUIDE
