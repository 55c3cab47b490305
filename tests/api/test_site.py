"""What the server says of itself."""

import asyncio
import re

import httpx
import pytest

from outlast import __version__, errors
from outlast.api.problems import STATUS
from outlast.config import Settings
from outlast.runners.protocol import Prepared, Runner, Submission
from outlast.runners.registry import Registry
from outlast.store.postgres.connection import HOLD_OFF_S
from outlast.store.sqlite import SqliteStore
from tests.api.conftest import Serve, Served
from tests.api.driver import Driver
from tests.kept import Kept


async def test_a_draining_server_is_healthy_but_not_ready(served: Served) -> None:
    served.drain()

    ready = await served.http.get("/ready")

    assert ready.status_code == 503
    assert ready.json()["code"] == "draining"
    assert (await served.http.get("/health")).status_code == 200


@pytest.mark.sqlite
async def test_a_server_that_cannot_commit_is_healthy_but_not_ready(
    served: Served, store: SqliteStore
) -> None:
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    refused = await served.http.post("/api/v1/runs", json={"prompt": "x" * 60_000, "framework": "echo"})

    ready = await served.http.get("/ready")

    assert (refused.status_code, ready.status_code) == (503, 503)
    assert ready.json()["code"] == "store_unavailable"
    assert "disk is full" in ready.json()["detail"]
    assert (await served.http.get("/health")).status_code == 200


async def test_stats_count_the_runs(served: Served, driver: Driver) -> None:
    for _ in range(3):
        await served.submit()
    await driver.succeed()

    stats = (await served.http.get("/stats")).json()

    assert stats == {
        "total_jobs": 3,
        "by_status": {"queued": 2, "running": 0, "succeeded": 1, "failed": 0, "cancelled": 0},
        "open_streams": 0,
        "runners": ["builtin", "command", "echo", "function"],
        "version": __version__,
    }


@pytest.mark.sqlite
@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_the_pages_reach_nothing_outside(served: Served, path: str) -> None:
    answer = await served.http.get(path)

    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text
    assert not re.findall(r'(?:src|href)="?(?:https?:)?//', answer.text)


@pytest.mark.sqlite
async def test_the_docs_show_every_path_and_every_code(served: Served) -> None:
    page = (await served.http.get("/docs")).text

    assert "GET /api/v1/runs/{job_id}/stream" in page
    assert "idempotency_conflict" in page


@pytest.mark.sqlite
async def test_an_unknown_path_is_a_problem(served: Served) -> None:
    answer = await served.http.get("/api/v1/jobs")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:outlast:problem:not_found",
        "title": "There is nothing at this path.",
        "status": 404,
        "detail": "There is nothing at '/api/v1/jobs'; /docs lists what there is.",
        "code": "not_found",
    }


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/api/v1/runs", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", "/api/v1/runs", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/api/v1/runs/run_x", "DELETE, GET, HEAD, OPTIONS"),
        ("GET", "/api/v1/runs/run_x/cancel", "OPTIONS, POST"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_wrong_method_is_405_and_names_the_right_ones(
    served: Served, method: str, path: str, allow: str
) -> None:
    answer = await served.http.request(method, path)
    options = await served.http.options(path)

    assert answer.status_code == 405
    assert answer.json()["code"] == "method_not_allowed"
    assert answer.headers["allow"] == options.headers["allow"] == allow
    assert options.status_code == 204


@pytest.mark.sqlite
@pytest.mark.parametrize("path", ["/api/v1/runs/", "/health/", "/stats/"])
async def test_a_slash_at_the_end_does_no_harm(served: Served, path: str) -> None:
    assert (await served.http.get(path)).status_code == 200


@pytest.mark.sqlite
async def test_a_bug_is_a_500_that_gives_nothing_away(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def prepare(submission: Submission, settings: Settings) -> Prepared:
        raise ZeroDivisionError("the secret is 42")

    broken = Runner(name="broken", version="1", prepare=prepare, entry="nowhere:run")
    served = await serve(registry=Registry(Settings(), (broken,)))

    answer = await served.http.post("/api/v1/runs", json={"prompt": "Hello", "framework": "broken"})

    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert answer.json()["title"] == "Something in Outlast is broken."
    assert "42" not in answer.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("path", ["/ready", "/stats", "/api/v1/runs"])
async def test_a_store_that_is_away_is_a_503_to_try_again(served: Served, kept: Kept, path: str) -> None:
    await kept.lock_out()

    away = await served.http.get(path)
    await kept.let_in()
    await asyncio.sleep(HOLD_OFF_S)  # the server is allowed not to look again for so long
    back = await served.http.get(path)

    assert (away.status_code, back.status_code) == (503, 200)
    assert away.json()["code"] == "store_unavailable"
    assert away.headers["retry-after"] == "1"


@pytest.mark.sqlite
@pytest.mark.parametrize("origin", ["https://app.example.com"])
async def test_browsers_of_allowed_origins_may_ask(serve: Serve, origin: str) -> None:
    served = await serve(cors_origins=(origin,), api_keys=("k",))
    asking = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key",
    }

    async with httpx.AsyncClient(base_url=served.url, trust_env=False, verify=False) as client:
        preflight = await client.options("/api/v1/runs", headers=asking)
        answer = await client.get("/api/v1/runs", headers={"Origin": origin, "X-API-Key": "k"})
        stranger = await client.get("/health", headers={"Origin": "https://evil.example"})

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-origin"] == origin
    assert "Idempotency-Replayed" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in stranger.headers


@pytest.mark.sqlite
async def test_without_allowed_origins_no_browser_page_may_ask(served: Served) -> None:
    answer = await served.http.get("/api/v1/runs", headers={"Origin": "https://app.example.com"})

    assert not any(name.startswith("access-control") for name in answer.headers)


def test_every_error_has_a_status() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.OutlastError)
    ]

    assert {kind.code for kind in kinds} == set(STATUS)
