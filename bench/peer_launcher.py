"""Runs PraisonAI's jobs server with an agent that does nothing. Runs in the peer's own environment, not in ours.

What is measured is its server alone, at its best: the limit of accepted jobs and the memory store's size (1,000,
above which it throws finished jobs away) are raised, and no access log is written.

    python peer_launcher.py PORT [SQLITE_PATH]
"""

import asyncio
import sys
import time

import uvicorn

# The peer is installed in an environment of its own; type checks run where it is not.
from praisonai.jobs.executor import JobExecutor  # type: ignore[import-not-found]
from praisonai.jobs.server import create_app  # type: ignore[import-not-found]
from praisonai.jobs.store import InMemoryJobStore, SqliteJobStore  # type: ignore[import-not-found]

MANY = 10_000_000


async def start_of_agent(_self: object, _job: object) -> str:
    """In place of the agent: says when its code began to run."""
    await asyncio.sleep(0)
    return str(time.monotonic_ns())


def main() -> None:
    port, path = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    store = SqliteJobStore(path) if path else InMemoryJobStore(max_jobs=MANY)
    JobExecutor._run_agent = start_of_agent
    app = create_app(store=store, executor=JobExecutor(store=store, max_queued=MANY))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
