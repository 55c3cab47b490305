"""The addresses we hand out are never of a stranger's choosing."""

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from outlast.api import create_api
from outlast.config import Settings
from outlast.engine import Engine
from outlast.runners.registry import Registry
from tests.api.conftest import Serve, Served, listening

STORES = ("sqlite",)
URL = "/api/v1/runs"


async def location(served: Served, host: str) -> str:
    headers = {"Host": host, "X-API-Key": "key"}
    answer = await served.http.post(URL, json={"prompt": "Hello"}, headers=headers)
    assert answer.status_code == 202
    assert answer.headers["location"] == answer.json()["poll_url"]
    return str(answer.headers["location"]).partition(URL)[0]


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "127.0.0.1:1", "[::1]:8005", "localhost"])
async def test_a_loopback_host_is_believed(served: Served, host: str) -> None:
    assert await location(served, host) == f"http://{host}"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8005",
        "localhost@evil.example",
        "localhost/evil",
        "127.0.0.1.evil.example",
        "127.0.0.1:80:80",
        "localhost:123456",
        "10.1.2.3:8005",
        "[::1",
        "",
    ],
)
async def test_any_other_host_is_replaced_by_the_address_of_arrival(serve: Serve, host: str) -> None:
    served = await serve(api_keys=("key",))

    assert await location(served, host) == f"http://127.0.0.1:{served.port}"


async def test_the_public_address_wins_over_everything(serve: Serve) -> None:
    served = await serve(public_url="https://agents.example.com/outlast/")

    assert await location(served, "localhost:9000") == "https://agents.example.com/outlast"


async def test_a_root_path_is_part_of_the_address(serve: Serve) -> None:
    served = await serve(root_path="/agents")

    assert await location(served, "localhost:9000") == "http://localhost:9000/agents"


async def test_the_api_can_be_mounted_in_another_application(engine: Engine) -> None:
    settings = Settings()
    api = create_api(engine, Registry(settings), settings, lambda: True, lambda url: None, asyncio.Event())
    outer = Starlette(routes=[Mount("/agents", api)])

    async with (
        listening(outer) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False) as client,
    ):
        answer = await client.post(f"/agents{URL}", json={"prompt": "Hello", "framework": "echo"})
        status = await client.get(answer.headers["location"])

    assert answer.headers["location"].startswith(f"http://127.0.0.1:{port}/agents{URL}/run_")
    assert status.json()["status"] == "queued"
