"""The documents' samples against a whole server, as a reader of the documents would run them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.api import test_documented_samples as documents
from tests.live import Live
from tests.postgres import Postgres
from tests.provider import Provider, Say
from tests.wire.conftest import started

STREAMED = documents.SUBMIT + documents.STREAMING
POLLED = documents.SUBMIT + documents.POLLING + "\nprint(wait_for_completion(job_id)['status'])"
RETRIED = documents.SAFE_RETRY + "\nprint(response.json()['job_id'])"
LISTED = "import httpx\n" + documents.LIST + "\nprint(jobs['total'] >= 1)"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, keeper: Postgres | None) -> Iterator[Live]:
    """A server whose model answers everything with "Four."."""
    with Provider() as provider:
        provider.answer = lambda asked: Say("Four.")
        env = {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": provider.key}
        with started(tmp_path_factory.mktemp("samples"), keeper, env) as live:
            yield live


def python(live: Live, code: str) -> str:
    """What a sample prints."""
    here = code.replace("http://127.0.0.1:8005", live.url)
    done = subprocess.run(
        [sys.executable, "-c", here], capture_output=True, check=False, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("code", "last"),
    [(documents.COMPLETE, "Four."), (documents.WORKFLOW, "Result: Four."), (POLLED, "succeeded")],
    ids=["complete", "workflow", "polling"],
)
def test_a_sample_gets_the_answer(live: Live, code: str, last: str) -> None:
    assert python(live, code).splitlines()[-1] == last


def test_the_streaming_sample_sees_a_run_to_its_end(live: Live) -> None:
    lines = python(live, STREAMED).split("\n")

    *events, end = [line.strip() for line in lines if line]
    assert end == "[DONE]"
    last = json.loads(events[-1])
    assert (last["event"], last["data"]["result"]) == ("complete", "Four.")


def test_the_retrying_sample_makes_one_run(live: Live) -> None:
    assert python(live, RETRIED) == python(live, RETRIED)


def test_the_listing_sample_sees_the_runs(live: Live) -> None:
    live.submit(prompt="Hello", framework="echo")

    assert python(live, LISTED) == "True\n"


def test_the_curl_lines(live: Live) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")

    job_id = str(curl(live, documents.CURL_SUBMIT)["job_id"])
    live.wait_for_end(job_id)

    assert curl(live, documents.CURL_RESULT, job_id)["result"] == "Four."


def curl(live: Live, line: str, job_id: str = "") -> dict[str, object]:
    """What a curl line prints."""
    here = line.replace("http://127.0.0.1:8005", live.url).replace("run_abc123", job_id)
    quiet = here.replace("curl ", "curl -s ", 1)
    printed = subprocess.run(["sh", "-ec", quiet], capture_output=True, check=True, timeout=30).stdout
    answer: dict[str, object] = json.loads(printed)
    return answer
