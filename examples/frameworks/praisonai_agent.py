"""An agent of praisonaiagents: each line on stdin is a task for an agent of its own, all at the same time.

python praisonai_agent.py [stream] < tasks.txt
"""

import asyncio
import os
import random
import sys
import time
from datetime import datetime

from praisonaiagents import Agent


def square(n: int) -> str:
    """The square of a number, and when it was looked up."""
    time.sleep(random.uniform(0, 0.05))
    return f"{n * n}, looked up at {datetime.now().isoformat()}"


async def work(task: str) -> str:
    clerk = Agent(
        instructions="Look every square up, then say what they sum to.",
        llm=os.environ.get("OPENAI_MODEL_NAME", "gpt-4o-mini"),
        tools=[square],
    )
    return await clerk.achat(task, stream="stream" in sys.argv)


async def main() -> None:
    now = datetime.now().isoformat()
    tasks = [line.replace("{now}", now) for line in sys.stdin.read().splitlines()]
    print(" | ".join(await asyncio.gather(*map(work, tasks))))


asyncio.run(main())
