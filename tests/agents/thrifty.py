"""An agent that asks a model step by step, with a tool that tells the time, and notes its process in a file."""

import json
import os
import time
import urllib.request
from pathlib import Path

STEPS = 6
"""Model calls that one run takes if each is paid once."""


def works(prompt: str) -> str:
    """The prompt is the path of the file."""
    Path(prompt).write_text(str(os.getpid()))
    messages: list[object] = [{"role": "user", "content": "Work until it is done."}]
    for step in range(STEPS):
        message = _ask(messages)
        call = {"id": f"call_{step}", "type": "function", "function": {"name": "now", "arguments": "{}"}}
        result = {"role": "tool", "tool_call_id": f"call_{step}", "content": f"It is {time.time()}."}
        messages += [{**message, "tool_calls": [call]}, result]
    return f"done in attempt {os.environ['OUTLAST_ATTEMPT']}"


def _ask(messages: list[object]) -> dict[str, object]:
    request = urllib.request.Request(
        f"{os.environ['OPENAI_BASE_URL']}/chat/completions",
        json.dumps({"model": "m", "messages": messages}).encode(),
        {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        message: dict[str, object] = json.load(answer)["choices"][0]["message"]
        return message
