"""Steps on a real server: what was done is not done again, and over what may have been done the run waits."""

import os
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import invariants
from tests.live import Live, wait_until
from tests.openai_wire import ToolCall
from tests.provider import Asked, Provider, Say

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PATIENCE_S = 180
"""An agent imports its framework first, and it is nicer than all else on a busy machine."""

AGENT = """
import os
import time
from pathlib import Path

from outlast import StepFailed, tool


@tool(effect="once")
def pay(euros, folder, idempotency_key):
    note(folder, f"pay {idempotency_key}")
    while not Path(folder, "paid").exists():
        time.sleep(0.02)
    return {"paid": euros}


def look(folder):
    note(folder, "look")
    return 5


def note(folder, words):
    with Path(folder, "notes").open("a") as notes:
        notes.write(f"{words} {os.getpid()}\\n")


def buys(prompt, run):
    price = run.step("look", look, prompt)
    try:
        return pay(price, prompt)
    except StepFailed as error:
        return f"Not bought: {error}"
"""

TOOLS = '''
import os
import time
from pathlib import Path

ROOT = Path(__file__).parent


def square(n: int) -> str:
    """The square of a number."""
    note(f"begin {n}")
    while (ROOT / f"hold-{n}").exists():
        time.sleep(0.02)
    note(f"end {n}")
    return f"{n * n} at {time.time()}"


def note(words):
    with (ROOT / "notes").open("a") as notes:
        notes.write(f"{words} {os.getpid()}\\n")
'''
CREW = "agents: {clerk: {instructions: Square., tools: [square]}}"
ROUNDS = 5


class Shop:
    """The server, its provider, and what its agents have noted."""

    def __init__(self, root: Path, provider: Provider, live: Live) -> None:
        self.root = root
        self.provider = provider
        self.live = live

    def notes(self, folder: Path, word: str) -> list[list[str]]:
        """What was noted that begins with this word; the last of each is the process."""
        notes = folder / "notes"
        lines = notes.read_text().splitlines() if notes.exists() else []
        return [line.split() for line in lines if line.startswith(word)]

    def noted(self, folder: Path, word: str, times: int = 1) -> int:
        """The process that has noted this, once it has been noted so often."""
        wait_until(lambda: len(self.notes(folder, word)) >= times, PATIENCE_S, lambda: f"{word} to be noted")
        return int(self.notes(folder, word)[-1][-1])

    def steps(self, job_id: str) -> Counter[str]:
        """How many of the run's steps are in which state."""
        answer = self.live.http.get(f"/api/v1/runs/{job_id}/steps?page_size=100").json()
        return Counter(step["state"] for step in answer["steps"])

    def until_done(self, job_id: str, steps: int) -> None:
        wait_until(
            lambda: self.steps(job_id)["done"] == steps,
            PATIENCE_S,
            lambda: f"{steps} done, not {self.steps(job_id)}",
        )

    def let_go(self) -> None:
        """Answer the model calls that are held, if anybody still waits for them."""
        for asked in self.provider.asked:
            if not asked.answered and asked.disconnected_at is None:
                self.provider.let_go(asked)

    def result(self, job_id: str) -> object:
        run = self.live.wait_for_end(job_id, PATIENCE_S)
        assert run["status"] == "succeeded", run
        found: object = self.live.http.get(f"/api/v1/runs/{job_id}/result").json()["result"]
        return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    root = tmp_path_factory.mktemp("shop")
    (root / "agents_of_shop.py").write_text(AGENT)
    (root / "tools.py").write_text(TOOLS)
    (root / "outlast.toml").write_text(
        'allow_tools = true\n[agents.buys]\nfunction = "agents_of_shop:buys"\n'
    )
    with Provider(f"sk-secret-{uuid.uuid4().hex}") as provider:
        env = {
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": provider.key,
            "OUTLAST_MODEL": "m",
        }
        with Live(root, env) as live:
            yield Shop(root, provider, live)
            assert live.terminate() == 0
    invariants.check(live.data_dir / "outlast.db")


@pytest.mark.parametrize(
    ("answer", "result", "payments"),
    [
        ({"action": "retry"}, {"paid": 5}, 2),
        ({"action": "skip", "result": {"receipt": 7}}, {"receipt": 7}, 1),
        ({"action": "fail", "error": "No money."}, "Not bought: No money.", 1),
    ],
    ids=lambda it: it.get("action") if isinstance(it, dict) else None,
)
def test_a_run_whose_agent_was_killed_over_a_payment_waits_and_goes_on_as_it_is_answered(
    shop: Shop, tmp_path: Path, answer: dict[str, object], result: object, payments: int
) -> None:
    job_id = shop.live.submit(prompt=str(tmp_path), agent="buys")

    os.kill(shop.noted(tmp_path, "pay"), signal.SIGKILL)

    wait_until(
        lambda: "waiting" in shop.live.status(job_id), PATIENCE_S, lambda: str(shop.live.status(job_id))
    )
    run = shop.live.status(job_id)
    waiting = run["waiting"]
    assert isinstance(waiting, dict)
    assert (run["status"], waiting["kind"], waiting["name"]) == ("running", "tool", "pay")
    assert waiting["input"] == {"euros": 5, "folder": str(tmp_path)}
    wait_until(lambda: _held(shop) == 0, 10, lambda: "the place to be free")
    assert shop.steps(job_id) == {"done": 1, "unsure": 1}
    (tmp_path / "paid").touch()
    answered = shop.live.http.post(f"/api/v1/runs/{job_id}/steps/{waiting['step']}", json=answer)
    assert answered.status_code == 200, answered.text
    assert shop.result(job_id) == result
    assert len(shop.notes(tmp_path, "look")) == 1
    paid = shop.notes(tmp_path, "pay")
    assert (len(paid), len({key for _, key, _ in paid})) == (payments, 1)


def _held(shop: Shop) -> int:
    """How many agents the workers carry."""
    workers = shop.live.http.get("/api/v1/workers").json()["workers"]
    return sum(worker["isolated"]["taken"] for worker in workers)


def _worker(shop: Shop) -> int:
    workers = shop.live.http.get("/api/v1/workers").json()["workers"]
    (pid,) = [worker["pid"] for worker in workers if worker["state"] == "live"]
    return int(pid)


def test_with_the_built_in_runner_each_tool_that_finished_is_called_once_over_three_kills(shop: Shop) -> None:
    held = {2, 3}

    def answer(asked: Asked) -> Say:
        messages = asked.json["messages"]
        assert isinstance(messages, list)
        turn = sum("tool_calls" in message for message in messages)
        if turn == ROUNDS:
            return Say("Done.")
        calls = tuple(
            ToolCall(id=f"call_{uuid.uuid4().hex}", name="square", arguments=f'{{"n": {2 * turn + i}}}')
            for i in (1, 2)
        )
        hold_after = 0 if turn in held else None
        held.discard(turn)
        return Say(calls=calls, hold_after=hold_after)

    shop.provider.answer = answer
    (shop.root / "hold-3").touch()
    job_id = shop.live.submit(prompt="Square ten.", agent_yaml=CREW)

    shop.noted(shop.root, "end 4")
    shop.until_done(job_id, 3)
    os.kill(shop.noted(shop.root, "begin 3"), signal.SIGKILL)  # over a tool
    shop.noted(shop.root, "begin 3", 2)
    (shop.root / "hold-3").unlink()
    shop.until_done(job_id, 4)
    wait_until(lambda: 2 not in held, PATIENCE_S, lambda: "the third round to be asked for")
    os.kill(_worker(shop), signal.SIGKILL)  # over a model call
    shop.let_go()
    shop.until_done(job_id, 6)
    wait_until(lambda: 3 not in held, PATIENCE_S, lambda: "the fourth round to be asked for")
    os.kill(shop.noted(shop.root, "end 6"), signal.SIGKILL)
    shop.let_go()

    assert shop.result(job_id) == "Done."
    assert shop.live.status(job_id)["attempt"] == 4
    assert Counter(line[1] for line in shop.notes(shop.root, "end")) == {str(n): 1 for n in range(1, 11)}
    assert Counter(line[1] for line in shop.notes(shop.root, "begin"))["3"] == 2
    assert shop.steps(job_id) == {"done": 10}
    told = shop.live.http.get(f"/api/v1/runs/{job_id}/stream").text
    assert told.count('"replayed":true') == 3 + 4 + 6
