"""An agent on Pydantic AI: each line on stdin is a task for an agent of its own, all at the same time.

python pydantic_ai_agent.py [stream] [chat] < tasks.txt
"""

import asyncio
import os
import random
import sys
from datetime import datetime

from pydantic_ai import Agent

clerk = Agent(
    ("openai-chat:" if "chat" in sys.argv else "openai-responses:")
    + os.environ.get("OPENAI_MODEL_NAME", "gpt-4o-mini"),
    instructions="Look every square up, then say what they sum to.",
)


@clerk.tool_plain
async def square(n: int) -> str:
    """The square of a number, and when it was looked up."""
    await asyncio.sleep(random.uniform(0, 0.05))
    return f"{n * n}, looked up at {datetime.now().isoformat()}"


async def work(task: str) -> str:
    if "stream" not in sys.argv:
        return (await clerk.run(task)).output
    async with clerk.run_stream(task) as running:
        return await running.get_output()


async def main() -> None:
    now = datetime.now().isoformat()
    tasks = [line.replace("{now}", now) for line in sys.stdin.read().splitlines()]
    print(" | ".join(await asyncio.gather(*map(work, tasks))))


asyncio.run(main())
