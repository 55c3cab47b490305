"""The clients: they submit in every way there is, follow what they submitted, and do not give up on silence."""

import asyncio
import json
import random
import time
from collections.abc import Sequence

import aiohttp

from tests.chaos.history import Call, History
from tests.chaos.talk import Talk

FINAL = ("succeeded", "failed", "cancelled")
RUNS = "/api/v1/runs"
PATIENCE_S = 90.0
"""How long a client insists, and how long it follows one run."""
WAIT_S = 4
BATCH = 50
IMPATIENT_S = 0.03
SESSION_RUNS = 6


class Client:
    """One client: it submits, follows, and submits again, until the time is over."""

    def __init__(self, talk: Talk, number: int, chance: random.Random, until: float, pause_s: float) -> None:
        self._talk = talk
        self._number = number
        self._chance = chance
        self._until = until
        self._pause_s = pause_s
        self._orders = 0

    async def live(self) -> None:
        kinds = {self._single: 70, self._later: 8, self._batch: 8, self._session: 5}
        while time.monotonic() < self._until:
            (kind,) = self._chance.choices(list(kinds), list(kinds.values()))
            await kind()
            await asyncio.sleep(self._chance.uniform(0, 2 * self._pause_s))

    def _order(self, **more: object) -> dict[str, object]:
        """A submit's body; no two have the same number."""
        self._orders += 1
        order = f"{self._number}-{self._orders}"
        kind = {"agent": "work"} if self._chance.random() < 0.2 else {"framework": "echo"}
        return {"prompt": f'order {order}\n"☂"', "metadata": {"order": order}, **kind, **more}

    async def _submit(self, body: dict[str, object], *, keyed: bool) -> str | None:
        """The run's id once it is accepted. Without a key nobody can ask again and be sure."""
        text, key = json.dumps(body), f"key of {body['metadata']}"
        if not keyed:
            return _job_id(await self._talk.ask("POST", RUNS, text))
        if self._chance.random() < 0.1:
            await self._hurry(text, key)
            call = await self._talk.insist("POST", RUNS, text, key=key, until=self._patience())
        elif self._chance.random() < 0.5:
            call = await self._talk.insist("POST", RUNS, text, key=key, until=self._patience())
        else:
            text = json.dumps({**body, "idempotency_key": key})
            call = await self._talk.insist("POST", RUNS, text, until=self._patience())
        return _job_id(call)

    async def _hurry(self, text: str, key: str) -> None:
        """Ask twice at the same time, and do not wait for the answers."""
        waits = [self._chance.uniform(0, IMPATIENT_S) for _ in range(2)]
        await asyncio.gather(*(self._talk.ask("POST", RUNS, text, key=key, answer_s=s) for s in waits))

    async def _single(self) -> None:
        job_id = await self._submit(self._order(), keyed=self._chance.random() < 0.75)
        if job_id is not None:
            await self._follow(job_id)

    async def _later(self) -> None:
        delay = round(self._chance.uniform(0.2, 4), 2)
        job_id = await self._submit(self._order(delay=delay), keyed=True)
        if job_id is not None:
            await self._follow(job_id)

    async def _batch(self) -> None:
        """Hand in many; those that were refused for the moment are handed in again with the others, under one key."""
        orders = [self._order() for _ in range(BATCH)]
        text, key = json.dumps({"runs": orders}), f"batch-{self._number}-{self._orders}"
        until, again = self._patience(), 0
        ids: list[str] = []
        while len(ids) < BATCH and time.monotonic() < until:
            call = await self._talk.ask("POST", f"{RUNS}/batch", text, key=key, again=again)
            ids = _accepted(call)
            again += 1
            await asyncio.sleep(self._chance.uniform(0, 0.5) if len(ids) < BATCH else 0)
        for job_id in self._chance.sample(ids, len(ids) // 4):
            await self._follow(job_id)

    async def _session(self) -> None:
        """Some runs in a session that takes one at a time."""
        name = f"session-{self._number}-{self._orders}"
        limit = '{"max_running": 1}'
        if not await self._talk.insist("PUT", f"/api/v1/sessions/{name}", limit, until=self._patience()):
            return
        orders = [self._order(session_id=name, agent="work") for _ in range(SESSION_RUNS)]
        for order in orders:
            order.pop("framework", None)
        ids = [await self._submit(order, keyed=True) for order in orders]
        for job_id in ids:
            if job_id is not None and self._chance.random() < 0.4:
                await self._follow(job_id)

    async def _follow(self, job_id: str) -> None:
        """Come back for the result in one way or another, or never."""
        if self._chance.random() < 0.1:
            await asyncio.sleep(self._chance.uniform(0, 1))
            await self._talk.insist("POST", f"{RUNS}/{job_id}/cancel", until=self._patience())
        ways = {self._poll: 25, self._wait: 25, self._stream: 35, self._forget: 15}
        (way,) = self._chance.choices(list(ways), list(ways.values()))
        await way(job_id)

    async def _forget(self, job_id: str) -> None:
        """Never look again."""

    async def _poll(self, job_id: str) -> None:
        until = self._patience()
        while time.monotonic() < until:
            call = await self._talk.insist("GET", f"{RUNS}/{job_id}", until=until)
            if call is None or _status(call) in FINAL:
                break
            await asyncio.sleep(self._chance.uniform(0.1, 0.8))
        await self._result(job_id)

    async def _wait(self, job_id: str) -> None:
        until = self._patience()
        while time.monotonic() < until:
            call = await self._talk.insist(
                "GET", f"{RUNS}/{job_id}?wait={WAIT_S}", until=until, answer_s=WAIT_S + 6
            )
            if call is None or _status(call) in FINAL:
                break
        await self._result(job_id)

    async def _result(self, job_id: str) -> None:
        await self._talk.insist("GET", f"{RUNS}/{job_id}/result", until=self._patience())

    async def _stream(self, job_id: str) -> None:
        """Read to the end, over as many connections as it takes; now and then leave in the middle."""
        until, after = self._patience(), 0
        while time.monotonic() < until:
            leave_after = self._chance.randrange(1, 6) if self._chance.random() < 0.3 else 1_000_000
            stream = await self._talk.stream(job_id, after, leave_after)
            after = stream.events[-1].seq if stream.events else after
            if stream.done or stream.status == 204:
                return
            if not stream.events:
                await asyncio.sleep(self._chance.uniform(0.05, 0.5))

    def _patience(self) -> float:
        return time.monotonic() + PATIENCE_S


def _job_id(call: Call | None) -> str | None:
    if call is None or call.status != 202:
        return None
    job_id: str = json.loads(call.answer)["job_id"]
    return job_id


def _accepted(call: Call) -> list[str]:
    if call.status not in (200, 207):
        return []
    return [one["job_id"] for one in json.loads(call.answer)["results"] if "poll_url" in one]


def _status(call: Call) -> str:
    if call.status != 200:
        return FINAL[0]  # the checker will have something to say
    status: str = json.loads(call.answer)["status"]
    return status


async def drive(
    urls: Sequence[str], history: History, seed: int, until: float, clients: int, rate: float
) -> None:
    """So many clients, until that time, at about so many submits a second among them."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for number in range(clients):
            chance = random.Random(f"{seed}:{number}")
            talk = Talk(session, urls, history, f"client{number}", chance)
            group.create_task(Client(talk, number, chance, until, clients / rate).live())
