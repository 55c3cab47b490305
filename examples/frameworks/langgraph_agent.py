"""A LangGraph of a model and its tools: each line on stdin is a task for a graph of its own, all at the same time.

python langgraph_agent.py [stream] [responses] < tasks.txt
"""

import asyncio
import os
import random
import sys
from datetime import datetime

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition


@tool
async def square(n: int) -> str:
    """The square of a number, and when it was looked up."""
    await asyncio.sleep(random.uniform(0, 0.05))
    return f"{n * n}, looked up at {datetime.now().isoformat()}"


model = ChatOpenAI(
    model=os.environ.get("OPENAI_MODEL_NAME", "gpt-4o-mini"),
    streaming="stream" in sys.argv,
    use_responses_api="responses" in sys.argv,
).bind_tools([square])
RULE = ("system", "Look every square up, then say what they sum to.")


async def ask(state: MessagesState) -> MessagesState:
    return {"messages": [await model.ainvoke([RULE, *state["messages"]])]}


graph = (
    StateGraph(MessagesState)
    .add_node("ask", ask)
    .add_node("tools", ToolNode([square]))
    .add_edge(START, "ask")
    .add_conditional_edges("ask", tools_condition)
    .add_edge("tools", "ask")
    .compile()
)


async def work(task: str) -> str:
    done = await graph.ainvoke({"messages": [("user", task)]})
    return done["messages"][-1].text


async def main() -> None:
    now = datetime.now().isoformat()
    tasks = [line.replace("{now}", now) for line in sys.stdin.read().splitlines()]
    print(" | ".join(await asyncio.gather(*map(work, tasks))))


asyncio.run(main())
