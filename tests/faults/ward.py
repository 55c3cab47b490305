"""A real server with rude agents and a scripted provider: what tests need to say of them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from outlast.worker import marks, processes
from tests.agents import rude
from tests.live import SERVE, Live, wait_until
from tests.provider import Asked, Provider, Say

HELPERS = {"outlast-host", "outlast-forks"}
QUICK = [(None, 1), ("ignores", 1), ("blocks", 1), ("escapes", 4), ("prints", 1), ("logs", 1)]
"""Agents that stay, and how many callers each makes of itself; None is a bare prompt in the shared host."""
STAYING = [*QUICK, ("obeys", 1), ("obeys_in_a_thread", 1)]
"""Also those that have to import the SDK first: seconds on a busy machine."""
PROMISED_S = 2.0
SLACK_S = 3.0
"""What a busy machine may add to a promise, in tests."""
HELD = Say(text="One two three.", hold_after=1)
"""An answer that begins, and goes on when the test says so: never, mostly."""


class Ward:
    """The server, the provider it calls, and the agents it runs."""

    def __init__(
        self, root: Path, provider: Provider, command: Sequence[str], settings: Mapping[str, object]
    ) -> None:
        agents = [f'[agents.{name}]\nfunction = "rude:{name}"\n' for name in rude.AGENTS]
        (root / "outlast.toml").write_text("".join(agents))
        env = {
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": provider.key,
            "OUTLAST_MODEL": "m",
            "OUTLAST_AGENT_ROOT": str(Path(rude.__file__).parent),
            **{f"OUTLAST_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.provider = provider
        self.live = Live(root, env, command)

    def submit(self, agent: str | None, prompt: str, **more: object) -> str:
        """A run of this agent, or of the bare prompt in the shared host."""
        return self.live.submit(prompt=prompt, **({"agent": agent} if agent else {}), **more)

    def calls(self, prompt: str) -> list[Asked]:
        """The calls that reached the provider for this prompt."""
        return [asked for asked in self.provider.asked if prompt in asked.body.decode()]

    def calling(self, agent: str | None, prompt: str, calls: int = 1, **more: object) -> str:
        """A run of this agent that has begun to hear the model's answer."""
        job_id = self.submit(agent, prompt, **more)
        wait_until(
            lambda: len([asked for asked in self.calls(prompt) if asked.pieces]) >= calls,
            60,
            lambda: f"{agent} to call; {self.live.status(job_id)}",
        )
        return job_id

    def cut(self, prompt: str, timeout_s: float = 10) -> float:
        """When the provider had seen the last of these calls go, on `time.monotonic`."""
        calls = self.calls(prompt)
        wait_until(
            lambda: all(asked.disconnected_at for asked in calls), timeout_s, lambda: f"{prompt} to be cut"
        )
        return max(asked.disconnected_at or 0.0 for asked in calls)

    def left(self) -> set[int]:
        """The server's processes, itself excepted: all that bear the data folder's brand or mark."""
        folder = marks.folder_id(self.live.data_dir)
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return {pid for pid in pids if marks.bears(pid, folder) and not processes.is_dead(pid)}

    def agents(self) -> set[int]:
        """Those of them that agents have, whatever they made of themselves."""
        return {pid for pid in self.left() if _name(pid) not in HELPERS}

    def gone(self, timeout_s: float = 10) -> float:
        """When no agent had a process left, on `time.monotonic`."""
        wait_until(lambda: not self.agents(), timeout_s, lambda: f"{self.agents()} to be gone")
        return time.monotonic()

    def cancel(self, job_id: str) -> float:
        """Cancel a run; when that was asked for, on `time.monotonic`."""
        asked_at = time.monotonic()
        answer = self.live.http.post(f"/api/v1/runs/{job_id}/cancel")
        assert answer.status_code == 200, answer.text
        return asked_at


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@contextmanager
def ward(root: Path, *, command: Sequence[str] = SERVE, **settings: object) -> Iterator[Ward]:
    """Server and provider, both running; every answer of the provider's begins and is then held."""
    with Provider(f"sk-secret-{uuid4().hex}") as provider:
        provider.answer = lambda asked: HELD
        place = Ward(root, provider, command, settings)
        with place.live:
            yield place
