"""The code that PraisonAI's documents show for its jobs server, word for word: it runs against this one."""

import asyncio
import json
import shlex
import shutil

import httpx
import pytest

from tests.api.conftest import Served
from tests.api.driver import Driver

QUICK_START = """
import httpx

API_URL = "http://127.0.0.1:8005"

# Submit job
response = httpx.post(f"{API_URL}/api/v1/runs", json={"prompt": "Analyze data"})
job = response.json()
job_id = job["job_id"]

# Check status
status = httpx.get(f"{API_URL}/api/v1/runs/{job_id}").json()

# Get result
result = httpx.get(f"{API_URL}/api/v1/runs/{job_id}/result").json()
"""

SUBMIT = """
import httpx

response = httpx.post(
    "http://127.0.0.1:8005/api/v1/runs",
    json={"prompt": "Your task here"}
)
job_id = response.json()["job_id"]
"""

IDEMPOTENCY = """
response = httpx.post(
    "http://127.0.0.1:8005/api/v1/runs",
    json={"prompt": "Task"},
    headers={"Idempotency-Key": "unique-key-123"}
)
"""

SAFE_RETRY = """
import httpx

# Safe to retry - same key returns existing job
for attempt in range(3):
    try:
        response = httpx.post(
            "http://127.0.0.1:8005/api/v1/runs",
            json={"prompt": "Process data"},
            headers={"Idempotency-Key": "unique-operation-id"},
            timeout=10
        )
        break
    except httpx.TimeoutException:
        continue
"""

POLLING = """
import time

def wait_for_completion(job_id):
    while True:
        status = httpx.get(f"http://127.0.0.1:8005/api/v1/runs/{job_id}").json()
        if status["status"] in ("succeeded", "failed", "cancelled"):
            return status
        time.sleep(status.get("retry_after", 2))
"""

STREAMING = """
with httpx.stream("GET", f"http://127.0.0.1:8005/api/v1/runs/{job_id}/stream") as r:
    for line in r.iter_lines():
        if line.startswith("data:"):
            print(line[5:])
"""

WEBHOOK = """
response = httpx.post(
    "http://127.0.0.1:8005/api/v1/runs",
    json={
        "prompt": "Task",
        "webhook_url": "https://example.com/callback"
    }
)
"""

SESSIONS = """
for task in tasks:
    httpx.post(
        "http://127.0.0.1:8005/api/v1/runs",
        json={"prompt": task, "session_id": "project-alpha"}
    )
"""

CANCEL = """
httpx.post(f"http://127.0.0.1:8005/api/v1/runs/{job_id}/cancel")
"""

LIST = """
jobs = httpx.get("http://127.0.0.1:8005/api/v1/runs").json()
"""

COMPLETE = """
import httpx
import time

API_URL = "http://127.0.0.1:8005"

def submit_and_wait(prompt):
    # Submit
    response = httpx.post(f"{API_URL}/api/v1/runs", json={"prompt": prompt})
    job_id = response.json()["job_id"]

    # Wait
    while True:
        status = httpx.get(f"{API_URL}/api/v1/runs/{job_id}").json()
        if status["status"] == "succeeded":
            return httpx.get(f"{API_URL}/api/v1/runs/{job_id}/result").json()
        elif status["status"] in ("failed", "cancelled"):
            raise Exception(f"Job {status['status']}")
        time.sleep(2)

result = submit_and_wait("What is 2+2?")
print(result["result"])
"""

WORKFLOW = """
import httpx
import time

API_URL = "http://127.0.0.1:8005"

def submit_and_get_result(prompt):
    # Submit job
    response = httpx.post(
        f"{API_URL}/api/v1/runs",
        json={"prompt": prompt}
    )
    job_id = response.json()["job_id"]
    print(f"Submitted job: {job_id}")

    # Wait for completion
    while True:
        status = httpx.get(f"{API_URL}/api/v1/runs/{job_id}").json()

        if status["status"] == "succeeded":
            # Get result
            result = httpx.get(f"{API_URL}/api/v1/runs/{job_id}/result").json()
            return result["result"]
        elif status["status"] in ("failed", "cancelled"):
            raise Exception(f"Job {status['status']}: {status.get('error', 'Unknown error')}")

        time.sleep(status.get("retry_after", 2))

result = submit_and_get_result("What is 2+2?")
print(f"Result: {result}")
"""

CLIENT_TIMEOUT = """
import httpx
import time
import threading
API_URL = "http://127.0.0.1:8005"
def submit_with_client_timeout(prompt, timeout_seconds=60):
    # Submit job
    response = httpx.post(f"{API_URL}/api/v1/runs", json={"prompt": prompt})
    job_id = response.json()["job_id"]
    print(f"Submitted job: {job_id}")
    start_time = time.time()
    while True:
        # Check if we've exceeded our client-side timeout
        if time.time() - start_time > timeout_seconds:
            print(f"Client timeout reached, cancelling job...")
            httpx.post(f"{API_URL}/api/v1/runs/{job_id}/cancel")
            raise TimeoutError(f"Job {job_id} cancelled after {timeout_seconds}s")
        status = httpx.get(f"{API_URL}/api/v1/runs/{job_id}").json()
        if status["status"] == "succeeded":
            return httpx.get(f"{API_URL}/api/v1/runs/{job_id}/result").json()
        elif status["status"] in ("failed", "cancelled"):
            raise Exception(f"Job {status['status']}")
        time.sleep(status.get("retry_after", 2))
try:
    result = submit_with_client_timeout("Complex analysis task", timeout_seconds=TIMEOUT)
    print(f"Result: {result['result']}")
except TimeoutError as e:
    print(f"Timeout: {e}")
"""

CURL_SUBMIT = r"""
curl -X POST http://127.0.0.1:8005/api/v1/runs \
  -H "Content-Type: application/json" \
  -H "Idempotency-Key: unique-key-123" \
  -d '{
    "prompt": "Analyze the quarterly sales data",
    "timeout": 3600,
    "webhook_url": "https://example.com/callback",
    "session_id": "project-alpha"
  }'
"""
CURL_RESULT = "curl http://127.0.0.1:8005/api/v1/runs/run_abc123/result"
CURL_CANCEL = "curl -X POST http://127.0.0.1:8005/api/v1/runs/run_abc123/cancel"

Names = dict[str, object]


async def run(served: Served, code: str, **names: object) -> Names:
    """Execute a sample in a thread, as a client would run it, with the server's own port."""
    scope: Names = {"httpx": httpx, **names}
    here = code.replace("127.0.0.1:8005", f"127.0.0.1:{served.port}")
    await asyncio.to_thread(exec, compile(here, "<sample>", "exec"), scope)
    return scope


async def curl(served: Served, line: str, job_id: str = "") -> dict[str, object]:
    """Run a curl line and read what it prints."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    here = line.replace("127.0.0.1:8005", f"127.0.0.1:{served.port}").replace("run_abc123", job_id)
    program, *arguments = shlex.split(here)
    process = await asyncio.create_subprocess_exec(program, "-s", *arguments, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    answer: dict[str, object] = json.loads(printed)
    return answer


async def test_quick_start(served: Served) -> None:
    names = await run(served, QUICK_START)

    assert isinstance(names["status"], dict)
    assert names["status"]["status"] == "queued"
    assert isinstance(names["result"], dict)
    assert names["result"]["status"] == 400


async def test_submit_job(served: Served) -> None:
    names = await run(served, SUBMIT)

    assert str(names["job_id"]).startswith("run_")


async def test_idempotency(served: Served) -> None:
    first = (await run(served, IDEMPOTENCY))["response"]
    second = (await run(served, IDEMPOTENCY))["response"]

    assert isinstance(first, httpx.Response)
    assert isinstance(second, httpx.Response)
    assert first.json()["job_id"] == second.json()["job_id"]


async def test_safe_retry(served: Served) -> None:
    response = (await run(served, SAFE_RETRY))["response"]

    assert isinstance(response, httpx.Response)
    assert response.status_code == 202


async def test_polling(served: Served, working: Driver) -> None:
    job_id = await served.submit()

    names = await run(served, POLLING + "\nstatus = wait_for_completion(job_id)", job_id=job_id)

    assert isinstance(names["status"], dict)
    assert names["status"]["status"] == "succeeded"


async def test_streaming(served: Served, working: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    job_id = await served.submit("Task")

    await run(served, STREAMING, job_id=job_id)

    *events, end = capsys.readouterr().out.splitlines()
    kinds = [json.loads(line)["event"] for line in events]
    assert kinds == ["status", "status", "complete"]
    assert json.loads(events[-1])["data"]["result"] == "Answer to: Task"
    assert end.strip() == "[DONE]"


async def test_webhook_callback(served: Served) -> None:
    response = (await run(served, WEBHOOK))["response"]

    assert isinstance(response, httpx.Response)
    assert response.status_code == 202


async def test_session_grouping(served: Served) -> None:
    await run(served, SESSIONS, tasks=["one", "two"])

    jobs = (await served.http.get("/api/v1/runs", params={"session_id": "project-alpha"})).json()
    assert jobs["total"] == 2


async def test_cancel_job(served: Served) -> None:
    job_id = await served.submit()

    await run(served, CANCEL, job_id=job_id)

    assert (await served.http.get(f"/api/v1/runs/{job_id}")).json()["status"] == "cancelled"


async def test_list_jobs(served: Served) -> None:
    job_id = await served.submit()

    jobs = (await run(served, LIST))["jobs"]

    assert isinstance(jobs, dict)
    assert [job["job_id"] for job in jobs["jobs"]] == [job_id]


async def test_complete_example(served: Served, working: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    await run(served, COMPLETE)

    assert capsys.readouterr().out == "Answer to: What is 2+2?\n"


async def test_complete_workflow_example(
    served: Served, working: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    await run(served, WORKFLOW)

    assert capsys.readouterr().out.endswith("Result: Answer to: What is 2+2?\n")


async def test_submit_with_timeout_in_time(
    served: Served, working: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    await run(served, CLIENT_TIMEOUT, TIMEOUT=30)

    assert "Result: Answer to: Complex analysis task" in capsys.readouterr().out


async def test_submit_with_timeout_and_cancel(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    await run(served, CLIENT_TIMEOUT, TIMEOUT=0.1)

    printed = capsys.readouterr().out
    assert "Client timeout reached, cancelling job..." in printed
    job_id = printed.split("Submitted job: ")[1].split()[0]
    assert (await served.http.get(f"/api/v1/runs/{job_id}")).json()["status"] == "cancelled"


async def test_the_curl_lines(served: Served, driver: Driver) -> None:
    job_id = str((await curl(served, CURL_SUBMIT))["job_id"])
    await driver.succeed("The quarterly sales data shows a 15% increase.")
    other = await served.submit()

    result = await curl(served, CURL_RESULT, job_id)
    cancelled = await curl(served, CURL_CANCEL, other)

    assert result["result"] == "The quarterly sales data shows a 15% increase."
    assert cancelled["status"] == "cancelled"
