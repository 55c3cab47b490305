"""An agent whose process is killed in the middle of its calls pays for each of them once."""

import os
import signal
from pathlib import Path

import msgspec
import pytest

from tests import invariants
from tests.agents import thrifty
from tests.live import Live, wait_until
from tests.openai_wire import Json
from tests.provider import Asked, Provider, Say

pytestmark = pytest.mark.slow

IN_FLIGHT_S = 0.5
"""How long the model thinks: long enough to be killed meanwhile."""
KILLED_AT = (2, 4)
"""In the middle of which calls."""


def test_an_agent_that_is_killed_twice_pays_for_each_call_once(tmp_path: Path) -> None:
    (tmp_path / "outlast.toml").write_text('[agents.thrifty]\nfunction = "thrifty:works"\n')
    pid = tmp_path / "pid"
    with Provider() as provider, Live(tmp_path, _env(provider)) as live:
        provider.answer = lambda asked: Say(
            f"Step {len(provider.asked)}.", delay_s=IN_FLIGHT_S if len(provider.asked) in KILLED_AT else 0.0
        )
        job_id = live.submit(prompt=str(pid), agent="thrifty")

        for number in KILLED_AT:
            wait_until(lambda: len(provider.asked) >= number, 30, lambda: f"call {number}")  # noqa: B023
            os.kill(int(pid.read_text()), signal.SIGKILL)
        head = live.wait_for_end(job_id)

        calls = _calls(live, job_id)
        assert live.http.get(f"/api/v1/runs/{job_id}/result").json()["result"] == "done in attempt 3"
        assert head["attempt"] == 3
        assert len(provider.asked) == thrifty.STEPS
        assert _results(provider.asked[-1]) == thrifty.STEPS - 1
        assert [call["how"] for call in calls].count("live") == thrifty.STEPS
        assert [call["how"] for call in calls].count("exact") == sum(KILLED_AT)
        assert live.terminate() == 0
    invariants.check(live.data_dir / "outlast.db")


def _env(provider: Provider) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_API_KEY": provider.key,
        "OUTLAST_MODEL": "m",
        "OUTLAST_AGENT_ROOT": str(Path(thrifty.__file__).parent),
        "OUTLAST_GRACE_S": "1",
    }


def _calls(live: Live, job_id: str) -> list[Json]:
    lines = live.http.get(f"/api/v1/runs/{job_id}/stream").text.splitlines()
    told = [line.removeprefix("data: ") for line in lines if line.startswith("data: {")]
    events = [msgspec.json.decode(text, type=dict[str, Json | str]) for text in told]
    return [
        data for event in events if event["event"] == "model_call" and isinstance(data := event["data"], dict)
    ]


def _results(asked: Asked) -> int:
    """How many results of tools the last call carries."""
    messages = asked.json["messages"]
    assert isinstance(messages, list)
    return sum(message["role"] == "tool" for message in messages)
