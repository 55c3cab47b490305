"""The last look, when the harm is over: wait until nothing moves any more, then read everything once more."""

import asyncio
import json
import random
import time
from collections.abc import Iterator, Sequence

import aiohttp

from tests.chaos.history import Audit, Call, History
from tests.chaos.talk import Talk

SETTLE_S = 90.0
"""By then every run has ended, or it is stuck."""
AT_ONCE = 8
PAGE = 100
LOOK_S = 120.0


async def settle(urls: Sequence[str], history: History, bound_s: float = SETTLE_S) -> None:
    """Until no run is queued or running, or the bound is over."""
    async with aiohttp.ClientSession() as session:
        talk = Talk(session, urls, history, "auditor", random.Random(0))
        until = time.monotonic() + bound_s
        is_calm = False
        while not is_calm and time.monotonic() < until:
            is_calm = await _is_calm(talk, until)
            await asyncio.sleep(0 if is_calm else 0.5)


async def _is_calm(talk: Talk, until: float) -> bool:
    for status in ("queued", "running"):
        call = await talk.insist("GET", f"/api/v1/runs?status={status}&page_size=5", until=until)
        if call is None or call.status != 200 or json.loads(call.answer)["total"]:
            return False
    return True


async def audit(urls: Sequence[str], history: History) -> None:
    """List all runs there are, and read each one's events from the first to the last."""
    history.write(Audit(at=time.monotonic()))
    async with aiohttp.ClientSession() as session:
        talk = Talk(session, urls, history, "auditor", random.Random(0))
        ids = iter(await _all_runs(talk))
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(_read_all(talk, ids))


async def _all_runs(talk: Talk) -> list[str]:
    ids: list[str] = []
    path: str | None = f"/api/v1/runs?page_size={PAGE}"
    while path is not None:
        call: Call | None = await talk.insist("GET", path, until=time.monotonic() + LOOK_S)
        if call is None or call.status != 200:
            return ids
        page = json.loads(call.answer)
        ids += [job["job_id"] for job in page["jobs"]]
        cursor = page.get("next_cursor")
        path = f"/api/v1/runs?page_size={PAGE}&cursor={cursor}" if cursor else None
    return ids


async def _read_all(talk: Talk, ids: Iterator[str]) -> None:
    for job_id in ids:
        await talk.stream(job_id)
