"""The commands and clients against a real server, which is a process, and is killed under them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from outlast import client
from outlast.client import Client, Conflict, NotFound, RunFinished, RunNotSucceeded
from tests.cli.conftest import Outlast
from tests.live import Live, processes_with, wait_until
from tests.provider import KEY, Fail, Provider, Say

pytestmark = pytest.mark.slow

DEADLINE_S = 60


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as scripted:
        yield scripted


@pytest.fixture(scope="module")
def shared_provider() -> Iterator[Provider]:
    with Provider() as scripted:
        yield scripted


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, shared_provider: Provider) -> Iterator[Live]:
    """A server for the tests that leave it as they found it."""
    with Live(tmp_path_factory.mktemp("live"), _model(shared_provider)) as started:
        yield started


@pytest.fixture
def mortal(tmp_path: Path, provider: Provider) -> Iterator[Live]:
    """A server for a test that kills it."""
    with Live(tmp_path, {**_model(provider), "OUTLAST_LEASE_S": "3"}) as started:
        yield started


@pytest.fixture
def outlast_live(shared: Live, outlast: Outlast, monkeypatch: pytest.MonkeyPatch) -> Outlast:
    """`outlast ARGS`, in this process, against the shared server."""
    monkeypatch.setenv("OUTLAST_URL", shared.url)
    return outlast


def _model(provider: Provider) -> dict[str, str]:
    return {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": KEY}


def start(*args: str, env: Mapping[str, str] = {}) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "outlast", *args],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_run_goes_through_every_command(outlast_live: Outlast) -> None:
    text = 'Grüße, \u2028 "quotes"\nand lines'
    run_id = outlast_live("submit", text, "--framework", "echo", "--session-id", "s").out.strip()

    assert outlast_live("result", run_id, "--wait").out == f"{text}\n"
    assert "Status:    succeeded" in outlast_live("status", run_id).out
    assert outlast_live("stream", run_id).out.endswith(f"{text}\n")
    assert run_id in outlast_live("list", "--status", "succeeded", "--session-id", "s").out
    assert outlast_live("cancel", run_id).code == 3
    assert outlast_live("delete", run_id).code == 0
    assert outlast_live("status", run_id).code == 3


def test_the_pages_lines_do_what_they_say(shared: Live, shared_provider: Provider) -> None:
    shared_provider.script(Say(text="Four."))
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    lines = page.split("```sh\n")[1].split("```")[0]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    done = subprocess.run(
        ["bash", "-e", "-c", lines],
        env={**os.environ, "PATH": path, "OUTLAST_URL": shared.url},
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().endswith("Four.\nFour.\n")


def test_the_clients_example_runs(
    shared: Live,
    shared_provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shared_provider.script(Say(text="Four."))
    monkeypatch.setenv("OUTLAST_URL", shared.url)
    assert client.__doc__ is not None
    example = client.__doc__[client.__doc__.index("from outlast.client") :]

    exec(example, {})

    assert capsys.readouterr().out == "succeeded\nFour.\n"


def test_the_old_lines_do_what_their_documents_say(outlast_live: Outlast) -> None:
    def submit(*more: str) -> dict[str, object]:
        done = outlast_live("run", "submit", "Process order", "--framework", "echo", "--json", *more)
        answer: dict[str, object] = json.loads(done.out)
        return answer

    first = submit("--idempotency-key", "order-123", "--metadata", "user=john", "--metadata", "priority=high")
    again = submit("--idempotency-key", "order-123", "--metadata", "user=john", "--metadata", "priority=high")
    other = submit("--idempotency-key", "order-123", "--idempotency-scope", "none")
    status = json.loads(outlast_live("run", "status", str(first["job_id"]), "--json").out)

    assert first["job_id"] == again["job_id"] != other["job_id"]
    assert status["metadata"] == {"user": "john", "priority": "high"}


def test_a_models_text_is_streamed_and_printed_once(outlast_live: Outlast, shared_provider: Provider) -> None:
    shared_provider.script(Say(text="Two and two are four.", pause_s=0.05))

    done = outlast_live("submit", "What is 2+2?", "--stream", "--tokens")

    assert done.code == 0
    assert done.out.count("Two and two are four.") == 1


def test_a_failed_run_is_exit_1_with_its_reason(outlast_live: Outlast, shared_provider: Provider) -> None:
    shared_provider.script(Fail(403))

    done = outlast_live("submit", "x", "--wait")

    assert (done.code, done.out) == (1, "")
    assert "failed: " in done.err


def test_a_running_run_can_be_left_and_cancelled(shared: Live, shared_provider: Provider) -> None:
    before = len(shared_provider.asked)
    shared_provider.script(Say(hold_after=0))
    waiting = start("submit", "x", "--wait", env={"OUTLAST_URL": shared.url})
    wait_until(lambda: len(shared_provider.asked) > before, DEADLINE_S, lambda: "the model to be asked")

    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=DEADLINE_S)
    run_id = err.decode().split("outlast cancel ")[1].split("`")[0]
    cancelled = start("cancel", run_id, env={"OUTLAST_URL": shared.url})
    out, _ = cancelled.communicate(timeout=DEADLINE_S)

    assert (waiting.returncode, cancelled.returncode) == (130, 0)
    assert out.decode() == f"Run {run_id} is cancelled.\n"


@pytest.mark.parametrize("how", ["--wait", "--stream"])
def test_waiting_and_streaming_outlast_a_kill_9_of_the_server(
    mortal: Live, provider: Provider, how: str
) -> None:
    provider.script(Say(hold_after=0), Say(text="Done after all."))
    waiting = start("submit", "x", how, env={"OUTLAST_URL": mortal.url})
    wait_until(lambda: bool(provider.asked), DEADLINE_S, lambda: "the model to be asked")

    mortal.kill_tree()
    mortal.start()
    out, err = waiting.communicate(timeout=DEADLINE_S)

    assert waiting.returncode == 0, err.decode()
    assert out.decode().endswith("Done after all.\n")


def test_every_run_is_listed_once_with_the_cursor(shared: Live) -> None:
    with Client(shared.url) as to_server:
        made = [to_server.submit(f"{n}", framework="echo", session_id="seven").job_id for n in range(7)]

        listed = [run.job_id for run in to_server.iter_runs(session_id="seven", page_size=3)]

    assert listed == made[::-1]


def test_a_large_result_comes_back_whole(shared: Live) -> None:
    text = "ä\u2028" * 1_900_000
    with Client(shared.url, timeout_s=60) as to_server:
        run = to_server.submit(text, framework="echo")
        to_server.wait(run.job_id, timeout_s=DEADLINE_S)

        result = to_server.result(run.job_id)

    assert result.result_url is not None
    assert result.result == text


def test_the_servers_refusals_have_classes(shared: Live) -> None:
    with Client(shared.url) as to_server:
        run = to_server.submit("x", framework="echo", idempotency_key="k")
        to_server.wait(run.job_id)

        with pytest.raises(Conflict) as conflict:
            to_server.submit("y", framework="echo", idempotency_key="k")
        with pytest.raises(RunFinished):
            to_server.cancel(run.job_id)
        with pytest.raises(NotFound):
            to_server.get("run_unknown")

    assert conflict.value.job_id == run.job_id


def test_a_run_that_has_not_ended_has_no_result(shared: Live, shared_provider: Provider) -> None:
    before = len(shared_provider.asked)
    shared_provider.script(Say(hold_after=0))
    with Client(shared.url) as to_server:
        run = to_server.submit("x")
        shared_provider.wait(lambda: len(shared_provider.asked) > before, "the model to be asked", DEADLINE_S)

        with pytest.raises(RunNotSucceeded):
            to_server.result(run.job_id)
        to_server.cancel(run.job_id)


def test_the_demo_shows_a_models_answer_and_leaves_nothing(provider: Provider, tmp_path: Path) -> None:
    provider.script(Say(text="Two and two are four."))
    env = {
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_API_KEY": KEY,
        "TMPDIR": str(tmp_path),
        "OUTLAST_URL": "",
    }

    done = start("demo", env=env)
    out, err = done.communicate(timeout=DEADLINE_S)

    assert done.returncode == 0, err.decode()
    assert "Two and two are four." in out.decode()
    assert "curl -X POST http://127.0.0.1:8005/api/v1/runs" in out.decode()
    assert list(tmp_path.iterdir()) == []
    assert processes_with(f"TMPDIR={tmp_path}") == []


def test_the_demo_fails_where_the_model_does(provider: Provider, tmp_path: Path) -> None:
    provider.answer = lambda asked: Fail(401)
    env = {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "wrong", "TMPDIR": str(tmp_path)}

    done = start("demo", "Hello?", env=env)
    out, _ = done.communicate(timeout=DEADLINE_S)

    assert done.returncode == 1
    assert "Now yourself" not in out.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_ended_early_leaves_nothing(
    provider: Provider, tmp_path: Path, number: signal.Signals
) -> None:
    provider.script(Say(hold_after=0))
    env = {**_model(provider), "TMPDIR": str(tmp_path)}
    demo = start("demo", env=env)
    wait_until(lambda: bool(provider.asked), DEADLINE_S, lambda: "the model to be asked")

    demo.send_signal(number)
    demo.communicate(timeout=DEADLINE_S)

    assert demo.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert processes_with(f"TMPDIR={tmp_path}") == []


def test_a_second_server_on_the_same_folder_is_refused(shared: Live) -> None:
    second = start("serve", "--port", "0", "--data-dir", str(shared.data_dir))
    _, err = second.communicate(timeout=DEADLINE_S)

    assert second.returncode == 1
    assert "--workers 1" in err.decode()


def test_a_server_beyond_loopback_without_keys_does_not_start() -> None:
    with tempfile.TemporaryDirectory() as folder:
        refused = start("serve", "--host", "0.0.0.0", "--port", "0", "--data-dir", folder)
        _, err = refused.communicate(timeout=DEADLINE_S)

    assert refused.returncode == 2
    assert "OUTLAST_API_KEYS" in err.decode()
