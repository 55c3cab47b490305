"""Listing runs: newest first, filtered, page by page or along the cursor."""

import pytest

from tests.api.conftest import Served
from tests.api.driver import Driver

URL = "/api/v1/runs"


async def test_an_empty_list_is_a_list(served: Served) -> None:
    answer = await served.http.get(URL)

    assert answer.json() == {"jobs": [], "total": 0, "page": 1, "page_size": 20}


async def test_runs_come_newest_first_and_look_like_their_status(served: Served) -> None:
    ids = [await served.submit(f"Task {n}") for n in range(3)]

    page = (await served.http.get(URL)).json()

    assert [job["job_id"] for job in page["jobs"]] == ids[::-1]
    assert page["total"] == 3
    assert "next_cursor" not in page
    assert page["jobs"][0] == (await served.http.get(f"{URL}/{ids[2]}")).json()


async def test_pages_part_the_list_without_overlap(served: Served) -> None:
    ids = [await served.submit() for _ in range(5)]

    pages = [(await served.http.get(URL, params={"page": n, "page_size": 2})).json() for n in (1, 2, 3, 4)]

    assert [job["job_id"] for page in pages for job in page["jobs"]] == ids[::-1]
    assert [len(page["jobs"]) for page in pages] == [2, 2, 1, 0]
    assert {page["total"] for page in pages} == {5}
    assert ["next_cursor" in page for page in pages] == [True, True, False, False]


async def test_the_cursor_walks_through_all_of_them(served: Served) -> None:
    ids = [await served.submit() for _ in range(5)]

    seen, cursor = [], None
    while True:
        params = {"page_size": "2", **({"cursor": cursor} if cursor else {})}
        page = (await served.http.get(URL, params=params)).json()
        seen += [job["job_id"] for job in page["jobs"]]
        cursor = page.get("next_cursor")
        if cursor is None:
            break

    assert seen == ids[::-1]


async def test_filters_are_joined(served: Served, driver: Driver) -> None:
    a = await served.submit(session_id="a")
    await driver.succeed()
    b = await served.submit(session_id="b")
    both = await served.submit(session_id="a")

    async def found(**filters: str) -> list[str]:
        page = (await served.http.get(URL, params=filters)).json()
        assert page["total"] == len(page["jobs"])
        return [job["job_id"] for job in page["jobs"]]

    assert await found(status="succeeded") == [a]
    assert await found(status="queued") == [both, b]
    assert await found(session_id="a") == [both, a]
    assert await found(session_id="a", status="queued") == [both]
    assert await found(framework="echo") == [both, b, a]
    assert await found(framework="praisonai") == []
    assert await found(agent="nobody") == []
    assert await found(status="failed") == []


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "params",
    [
        {"page": "0"},
        {"page": "-1"},
        {"page": "one"},
        {"page": "1.0"},
        {"page": ""},
        {"page": str(2**63)},
        {"page_size": "0"},
        {"page_size": "101"},
        {"page_size": "9" * 5000},
        {"page_size": "٢"},
        {"status": "done"},
        {"status": ""},
        {"session_id": ""},
        {"session_id": "a\0b"},
        {"session_id": "x" * 256},
        {"agent": ""},
        {"framework": "\0"},
        {"cursor": ""},
        {"cursor": "../x"},
        {"cursor": "run_a", "page": "2"},
        {f"p{n}": "" for n in range(101)},
    ],
    ids=str,
)
async def test_a_parameter_that_means_nothing_is_400(served: Served, params: dict[str, str]) -> None:
    answer = await served.http.get(URL, params=params)

    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_query"


async def test_pages_beyond_the_ten_thousandth_run_name_the_cursor(served: Served) -> None:
    last = await served.http.get(URL, params={"page": 100, "page_size": 100})
    beyond = await served.http.get(URL, params={"page": 101, "page_size": 100})

    assert last.status_code == 200
    assert beyond.status_code == 400
    assert "cursor" in beyond.json()["detail"]
