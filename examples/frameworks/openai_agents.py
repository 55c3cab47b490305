"""An agent on the OpenAI Agents SDK: each line on stdin is a task for an agent of its own, all at the same time.

    python openai_agents.py [stream] [chat] < tasks.txt

Nothing in here knows of Outlast, and nothing has to: `OPENAI_BASE_URL` and `OPENAI_API_KEY` say where the model is.
"""

import asyncio
import os
import random
import sys
from datetime import datetime

from agents import Agent, Runner, function_tool, set_default_openai_api

if "chat" in sys.argv:
    set_default_openai_api("chat_completions")


@function_tool
async def square(n: int) -> str:
    """The square of a number, and when it was looked up."""
    await asyncio.sleep(random.uniform(0, 0.05))
    return f"{n * n}, looked up at {datetime.now().isoformat()}"


clerk = Agent(
    name="Clerk",
    instructions="Look every square up, then say what they sum to.",
    model=os.environ.get("OPENAI_MODEL_NAME", "gpt-4o-mini"),
    tools=[square],
)


async def work(task: str) -> str:
    if "stream" not in sys.argv:
        return (await Runner.run(clerk, task)).final_output
    running = Runner.run_streamed(clerk, task)
    async for _ in running.stream_events():
        pass  # a chat window would show these
    return running.final_output


async def main() -> None:
    now = datetime.now().isoformat()
    tasks = [line.replace("{now}", now) for line in sys.stdin.read().splitlines()]
    print(" | ".join(await asyncio.gather(*map(work, tasks))))


asyncio.run(main())
