"""`outlast workers`."""

import json

from tests.cli.conftest import Outlast
from tests.client.scripted import ScriptedServer, answer

LIST = "GET /api/v1/workers"
LIVE = {
    "worker_id": "wrk_1",
    "name": "big",
    "host": "here",
    "pid": 7,
    "version": "1",
    "state": "live",
    "started_at": "2026-11-22T01:02:03.004Z",
    "lease_until": "2026-11-22T01:02:33.004Z",
    "runners": ["builtin", "echo"],
    "has_model": True,
    "shared": {"total": 1000, "taken": 5},
    "isolated": {"total": 10, "taken": 0},
    "running": 5,
    "job_ids": ["run_1", "run_2", "run_3", "run_4", "run_5"],
}
LOST = LIVE | {
    "state": "lost",
    "lost_at": "2026-11-22T01:02:34.004Z",
    "queues": ["night", "big\x1b"],
    "running": 0,
    "job_ids": [],
}


def test_workers_are_a_table(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(LIST, answer({"workers": [LIVE, LOST]}))

    done = outlast("workers")

    assert done.code == 0
    head, live, lost = done.out.splitlines()
    assert head.split() == ["WORKER", "STATE", "HOST", "SHARED", "ISOLATED", "QUEUES", "RUNNERS", "RUNS"]
    assert " ".join(live.split()) == (
        "big live here:7 5/1000 0/10 all builtin,echo run_1 run_2 run_3 and 2 more"
    )
    assert "lost 2026-11-22 01:02:34 UTC" in lost
    assert "night,big " in lost
    assert done.err == "1 of 2 workers take runs.\n"


def test_workers_as_json_are_the_servers(server: ScriptedServer, outlast: Outlast) -> None:
    server.on(LIST, answer({"workers": [LIVE]}))

    assert json.loads(outlast("workers", "--json").out) == {"workers": [LIVE]}
