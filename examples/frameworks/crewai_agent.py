"""A crew of CrewAI: each line on stdin is a task for a crew of its own, all at the same time.

python crewai_agent.py [stream] < tasks.txt
"""

import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool


@tool("square")
def square(n: int) -> str:
    """The square of a number, and when it was looked up."""
    time.sleep(random.uniform(0, 0.05))
    return f"{n * n}, looked up at {datetime.now().isoformat()}"


def work(task: str) -> str:
    model = os.environ.get("OPENAI_MODEL_NAME", "gpt-4o-mini")
    clerk = Agent(
        role="Clerk",
        goal="Look every square up, then say what they sum to.",
        backstory="Good with numbers.",
        llm=LLM(model=model, provider="openai", stream="stream" in sys.argv),
        tools=[square],
    )
    job = Task(description=task, expected_output="The sum.", agent=clerk)
    return Crew(agents=[clerk], tasks=[job]).kickoff().raw


def main() -> None:
    now = datetime.now().isoformat()
    tasks = [line.replace("{now}", now) for line in sys.stdin.read().splitlines()]
    with ThreadPoolExecutor(len(tasks)) as threads:
        print(" | ".join(threads.map(work, tasks)))


main()
