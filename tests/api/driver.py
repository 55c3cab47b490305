"""Plays the worker: takes runs and ends them through the engine's verbs, as fast as it is told to."""

import asyncio
from collections.abc import Callable

import msgspec

from outlast.engine import Engine
from outlast.runs import Caller, Draft, EventKind, Isolation, Progress, Run, RunRequest
from outlast.steps import Effect
from outlast.store.protocol import Claimed, Offer
from outlast.transitions import Cause

RUNNERS = frozenset({"builtin", "command", "echo", "function"})
WORKER = "worker_1"


class Driver:
    """One worker without processes."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def claim(self) -> tuple[Run, str]:
        """The next ready run and the attempt that now holds it."""
        claimed = await self._claim()
        assert claimed is not None, "no run was ready"
        assert claimed.run.attempt_id is not None
        return claimed.run, claimed.run.attempt_id

    async def _claim(self) -> Claimed | None:
        assert await self.engine.beat(WORKER, 30)
        for kind in Isolation:
            for claimed in await self.engine.claim(Offer(WORKER, kind, RUNNERS, 1)):
                return claimed
        return None

    async def succeed(self, result: object = "done") -> Run:
        """Take the next run and end it with this result."""
        return await self.succeed_json(msgspec.json.encode(result))

    async def succeed_json(self, result: bytes) -> Run:
        run, attempt_id = await self.claim()
        return await self.engine.succeed(run, attempt_id, result)

    async def log(self, run: Run, attempt_id: str, *messages: str) -> None:
        drafts = [Draft(EventKind.LOG, msgspec.json.encode({"message": text})) for text in messages]
        await self.engine.append(run.id, attempt_id, drafts)

    async def progress(self, run: Run, attempt_id: str, progress: Progress) -> None:
        await self.engine.append(run.id, attempt_id, [], progress)

    async def unsure(self, key: str, *, is_unsure: bool = True) -> None:
        """Take the next run, die over a step that may be done once only, and, to be unsure, come to it again."""
        for _ in range(1 + is_unsure):
            run, attempt_id = await self.claim()
            await self.engine.steps.begin(run.id, attempt_id, key, key, Effect.ONCE, b'{"euros":5}')
            if (await self.engine.get(Caller(), run.id)).attempt_id is not None:
                await self.engine.lose(run.id, attempt_id, Cause.WORKER)

    async def work(self, answer: Callable[[str], object] = lambda prompt: f"Answer to: {prompt}") -> None:
        """Answer every run that comes, until cancelled."""
        while True:
            claimed = await self._claim()
            if claimed is None:
                await self.engine.wakeups.work.wait(1)
                continue
            prompt = msgspec.json.decode(claimed.request, type=RunRequest).prompt
            assert claimed.run.attempt_id is not None
            result = msgspec.json.encode(answer(prompt))
            await self.engine.succeed(claimed.run, claimed.run.attempt_id, result)
            await asyncio.sleep(0)
