"""An agent on AutoGen: each line on stdin is a task for an agent of its own, all at the same time.

python autogen_agent.py [stream] < tasks.txt
"""

import asyncio
import os
import random
import sys
from datetime import datetime

from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.openai import OpenAIChatCompletionClient


async def square(n: int) -> str:
    """The square of a number, and when it was looked up."""
    await asyncio.sleep(random.uniform(0, 0.05))
    return f"{n * n}, looked up at {datetime.now().isoformat()}"


model = OpenAIChatCompletionClient(
    model=os.environ.get("OPENAI_MODEL_NAME", "gpt-4o-mini"),
    model_info={
        "vision": False,
        "function_calling": True,
        "json_output": True,
        "structured_output": True,
        "family": "unknown",
    },
)


async def work(task: str) -> str:
    clerk = AssistantAgent(
        "clerk",
        model_client=model,
        tools=[square],
        system_message="Look every square up, then say what they sum to.",
        max_tool_iterations=10,
        model_client_stream="stream" in sys.argv,
    )
    return (await clerk.run(task=task)).messages[-1].content


async def main() -> None:
    now = datetime.now().isoformat()
    tasks = [line.replace("{now}", now) for line in sys.stdin.read().splitlines()]
    print(" | ".join(await asyncio.gather(*map(work, tasks))))


asyncio.run(main())
