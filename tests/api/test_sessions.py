"""Sessions over HTTP: what there is, how it is doing, and how much of it goes at one time."""

from urllib.parse import quote

import pytest

from tests.api.conftest import Served
from tests.api.driver import Driver

URL = "/api/v1/sessions"
COUNTS = {"queued": 0, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0}


async def test_a_session_is_shown_with_its_counts(served: Served, driver: Driver) -> None:
    await served.submit(session_id="s")
    await driver.succeed()
    await served.submit(session_id="s")

    shown = (await served.http.get(f"{URL}/s")).json()

    assert shown.pop("created_at").endswith("Z")
    assert shown == {"session_id": "s", "total_jobs": 2, "by_status": COUNTS | {"queued": 1, "succeeded": 1}}


async def test_a_limited_session_goes_one_by_one_and_says_why(served: Served, driver: Driver) -> None:
    made = (await served.http.put(f"{URL}/s", json={"max_running": 1})).json()
    ids = [await served.submit(session_id="s") for _ in range(3)]

    assert (made["max_running"], made["total_jobs"]) == (1, 0)
    second = (await served.http.get(f"/api/v1/runs/{ids[1]}")).json()
    assert (second["status"], second["blocked_by"]) == ("queued", "session:s")
    assert [(await driver.succeed()).id for _ in ids] == ids


async def test_a_limit_that_is_lifted_lets_the_others_in(served: Served, driver: Driver) -> None:
    await served.http.put(f"{URL}/s", json={"max_running": 1})
    ids = [await served.submit(session_id="s") for _ in range(3)]

    raised = (await served.http.put(f"{URL}/s", json={"max_running": 2})).json()
    lifted = (await served.http.put(f"{URL}/s", json={"max_running": None})).json()

    assert (raised["max_running"], "max_running" in lifted) == (2, False)
    assert [(await driver.claim())[0].id for _ in ids] == ids


@pytest.mark.parametrize("name", ["a/b", "a b", "ü", "%2F", "?x=1", "...", "a/", "x" * 255])
async def test_a_session_can_have_any_name(served: Served, name: str) -> None:
    await served.submit(session_id=name)

    answer = await served.http.get(f"{URL}/{quote(name, safe='')}")

    assert answer.json()["session_id"] == name


async def test_sessions_are_walked_through_newest_first(served: Served) -> None:
    names = [f"s{n}" for n in range(5)]
    for name in names:
        await served.submit(session_id=name)

    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"page_size": "2", **({"cursor": cursor} if cursor else {})}
        page = (await served.http.get(URL, params=params)).json()
        assert page["total"] == 5
        seen += [session["session_id"] for session in page["sessions"]]
        cursor = page.get("next_cursor")
        if cursor is None:
            break

    assert seen == names[::-1]
    second = (await served.http.get(URL, params={"page_size": 2, "page": 2})).json()
    assert [session["session_id"] for session in second["sessions"]] == ["s2", "s1"]


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "params",
    [
        {"page": "0"},
        {"page_size": "101"},
        {"cursor": "nobody"},
        {"cursor": "s", "page": "2"},
        {"page": "101", "page_size": "100"},
    ],
    ids=str,
)
async def test_a_parameter_that_means_nothing_is_400(served: Served, params: dict[str, str]) -> None:
    await served.submit(session_id="s")

    answer = await served.http.get(URL, params=params)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_query")


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "body",
    [
        {"max_running": 0},
        {"max_running": -1},
        {"max_running": 10**6 + 1},
        {"max_running": "1"},
        {"max_runing": 1},
        [],
    ],
    ids=str,
)
async def test_a_limit_that_means_nothing_is_422(served: Served, body: object) -> None:
    answer = await served.http.put(f"{URL}/s", json=body)

    assert answer.status_code == 422
    assert (await served.http.get(f"{URL}/s")).status_code == 404
