"""Who is let in."""

import socket

import httpx
import pytest

from outlast.api.auth import is_loopback, key_id
from tests.api.conftest import Serve
from tests.runs_factory import ME

STORES = ("sqlite",)
URL = "/api/v1/runs"
CLOSED = ["/api/v1/runs", "/api/v1/runs/run_x", "/stats", "/openapi.json", "/docs", "/", "/nowhere"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer second key"},
        {"Authorization": "bearer second key"},
        {"X-API-Key": "second key"},
        {"X-API-Key": "first"},
    ],
)
async def test_any_of_the_keys_lets_in_either_way(serve: Serve, headers: dict[str, str]) -> None:
    served = await serve(api_keys=("first", "second key"))

    answer = await served.http.post(URL, json={"prompt": "Hello"}, headers=headers)

    assert answer.status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic Zmlyc3Q6"},
        {"Authorization": "first"},
        {"X-API-Key": ""},
        {"X-API-Key": "firs"},
        {"X-API-Key": "first second"},
    ],
)
async def test_without_a_valid_key_everything_is_401(serve: Serve, headers: dict[str, str]) -> None:
    served = await serve(api_keys=("first", "second"))

    answers = [await served.http.get(path, headers=headers) for path in CLOSED]
    answers.append(await served.http.options(URL, headers=headers))

    assert {answer.status_code for answer in answers} == {401}
    assert {answer.json()["code"] for answer in answers} == {"unauthorized"}
    assert answers[0].headers["www-authenticate"].startswith("Bearer")


async def test_a_key_of_any_letters_is_a_key(serve: Serve) -> None:
    served = await serve(api_keys=("schlüssel 🦜",))

    answer = await served.http.get(URL, headers=[(b"x-api-key", "schlüssel 🦜".encode())])

    assert answer.status_code == 200


async def test_health_and_readiness_need_no_key(serve: Serve) -> None:
    served = await serve(api_keys=("first",))

    assert (await served.http.get("/health")).json() == {"status": "healthy"}
    assert (await served.http.get("/ready")).json() == {"status": "ready"}


async def test_without_keys_only_what_arrives_at_a_loopback_address_is_answered(serve: Serve) -> None:
    address = _own_address()
    served = await serve(host="0.0.0.0")
    from_outside = f"http://{address}:{served.port}"

    async with httpx.AsyncClient(base_url=from_outside, trust_env=False, verify=False) as client:
        spoofed = await client.get(URL, headers={"Host": "127.0.0.1", "X-Forwarded-For": "127.0.0.1"})
        refused = [(await client.get(path)).status_code for path in (*CLOSED, "/ready")]
        health = await client.get("/health")

    assert spoofed.status_code == 401
    assert "OUTLAST_API_KEYS" in spoofed.json()["detail"]
    assert set(refused) == {401}
    assert health.json() == {"status": "healthy"}
    assert (await served.http.get(URL)).status_code == 200


STRANGERS = [
    "evil.example",
    "evil.example:8005",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "localhost@evil.example",
    "localhost/evil",
    "127.0.0.1:80:80",
    "10.1.2.3:8005",
    "[::1",
]


@pytest.mark.parametrize("host", STRANGERS)
async def test_without_keys_a_page_whose_name_was_bent_to_this_machine_gets_nothing(
    serve: Serve, host: str
) -> None:
    served = await serve()

    answers = [await served.http.get(path, headers={"Host": host}) for path in (*CLOSED, "/ready")]
    answers.append(await served.http.post(URL, json={"prompt": "Hello"}, headers={"Host": host}))

    assert {answer.status_code for answer in answers} == {421}
    assert {answer.json()["code"] for answer in answers} == {"host_not_allowed"}
    assert "OUTLAST_PUBLIC_URL" in answers[0].json()["detail"]
    assert (await served.http.get("/health", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:9000",
        "127.0.0.1",
        "127.8.8.8:1",
        "[::1]:8005",
        "Agents.example.com",
        "agents.example.com:443",
        "",
    ],
)
async def test_without_keys_the_names_of_this_machine_and_of_the_operator_are_answered(
    serve: Serve, host: str
) -> None:
    served = await serve(public_url="https://agents.example.com/outlast")

    assert (await served.http.get(URL, headers={"Host": host})).status_code == 200


async def test_with_keys_the_host_does_not_matter(serve: Serve) -> None:
    served = await serve(api_keys=("first",))

    answer = await served.http.get(URL, headers={"Host": "evil.example", "X-API-Key": "first"})

    assert answer.status_code == 200


async def test_with_keys_the_whole_network_may_ask(serve: Serve) -> None:
    served = await serve(host="0.0.0.0", api_keys=("first",))
    url = f"http://{_own_address()}:{served.port}"

    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as client:
        answer = await client.get(URL, headers={"X-API-Key": "first"})

    assert answer.status_code == 200


async def test_a_run_remembers_its_key_without_telling_it(serve: Serve) -> None:
    served = await serve(api_keys=("first",), headers={"X-API-Key": "first"})

    run = await served.engine.get(ME, await served.submit())

    assert run.submitted_by == key_id("first")
    assert "first" not in key_id("first")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_only(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def _own_address() -> str:
    """An address of this machine that is not loopback; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address: str = probe.getsockname()[0]
        return address
