"""Runs for tests, with the words that do not matter filled in."""

from outlast.births import Idempotency, NewRun
from outlast.engine import Engine
from outlast.runs import Caller, Isolation, Retry, Run, RunRequest
from outlast.store.protocol import Claimed, Offer

ME = Caller()
WORKER = "worker_1"


def new_run(
    prompt: str = "Hello",
    *,
    session_id: str | None = None,
    key: str | None = None,
    body: bytes = b"same",
    webhook_url: str | None = None,
    retry: Retry | None = None,
    timeout_s: int = 3600,
    priority_s: int = 0,
    kind: Isolation = Isolation.SHARED,
    agent: str | None = None,
) -> NewRun:
    """A submit of an echo run."""
    return NewRun(
        request=RunRequest(
            prompt=prompt, runner="echo", framework="echo", session_id=session_id, agent=agent
        ),
        kind=kind,
        timeout_s=timeout_s,
        priority_s=priority_s,
        webhook_url=webhook_url,
        retry=retry or Retry(),
        idempotency=Idempotency(key, "", body) if key else None,
    )


async def submit(engine: Engine, new: NewRun | None = None) -> Run:
    """A fresh run."""
    return (await engine.submit(ME, new or new_run())).run


async def claim(engine: Engine, limit: int = 1, worker: str = WORKER, lease_s: float = 30) -> list[Claimed]:
    """Shared echo runs, claimed by a worker that holds a lease."""
    assert await engine.beat(worker, lease_s)
    return await engine.claim(Offer(worker, Isolation.SHARED, frozenset({"echo"}), limit))


async def running(engine: Engine, new: NewRun | None = None) -> tuple[Run, str]:
    """A fresh run that an attempt holds, and that attempt's id."""
    submitted = await submit(engine, new)
    (claimed,) = await claim(engine)
    assert claimed.run.id == submitted.id
    assert claimed.run.attempt_id is not None
    return claimed.run, claimed.run.attempt_id
