"""Following a run: every event once and in order, whenever one comes, and from wherever one left off."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from outlast.api import stream
from outlast.api.stream import on_one_line
from outlast.engine import Engine
from outlast.runs import Progress, RunError
from tests.api.conftest import Served
from tests.api.driver import Driver
from tests.api.waiting import until
from tests.runs_factory import ME

URL = "/api/v1/runs"


class Seen(msgspec.Struct):
    """An event as a client parses it."""

    id: int | None
    event: str
    data: dict[str, object]
    name: str | None = None


class Reader:
    """Reads a stream the way a browser does, line by line."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()
        self.heartbeats = 0
        self.done = False

    async def next(self) -> Seen | None:
        """The next event; null at the stream's end."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(10):
            async for line in self._lines:
                if line.startswith(":"):
                    self.heartbeats += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields.get("data") == "[DONE]":
                    self.done, fields = True, {}
                elif fields:
                    return _seen(fields)
        return None

    async def rest(self) -> list[Seen]:
        """All events to the end."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


def _seen(fields: dict[str, str]) -> Seen:
    said = json.loads(fields["data"])
    assert list(said) == ["event", "data"]
    number = fields.get("id")
    return Seen(int(number) if number else None, said["event"], said["data"], fields.get("event"))


@asynccontextmanager
async def opened(
    served: Served, job_id: str, query: str = "", last: int | None = None
) -> AsyncIterator[Reader]:
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    async with served.http.stream("GET", f"{URL}/{job_id}/stream{query}", headers=headers) as answer:
        assert answer.status_code == 200
        yield Reader(answer)


async def test_a_stream_tells_a_run_from_its_beginning_to_its_end(served: Served, driver: Driver) -> None:
    job_id = await served.submit()

    async with opened(served, job_id) as reader:
        assert await reader.next() == Seen(1, "status", {"status": "queued"})
        run, attempt_id = await driver.claim()
        assert await reader.next() == Seen(2, "status", {"status": "running", "attempt": 1})
        await driver.log(run, attempt_id, "Reading the sheets")
        assert await reader.next() == Seen(3, "log", {"message": "Reading the sheets"})
        await driver.progress(run, attempt_id, Progress(50.0, "Processing"))
        assert await reader.next() == Seen(4, "progress", {"percentage": 50.0, "current_step": "Processing"})
        await served.engine.succeed(run, attempt_id, b'"done"')
        end = await reader.rest()

    assert end == [Seen(5, "complete", {"status": "succeeded", "job_id": job_id, "result": "done"})]
    assert reader.done


async def test_the_bytes_are_as_the_documents_show_them(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.succeed("done")

    answer = await served.http.get(f"{URL}/{job_id}/stream")

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.text == (
        'id: 1\ndata: {"event":"status","data":{"status":"queued"}}\n\n'
        'id: 2\ndata: {"event":"status","data":{"status":"running","attempt":1}}\n\n'
        f'id: 3\ndata: {{"event":"complete","data":{{"status":"succeeded","job_id":"{job_id}",'
        '"result":"done"}}\n\n'
        "data: [DONE]\n\n"
    )


async def test_a_failed_run_ends_its_stream_with_the_error(
    served: Served, driver: Driver, engine: Engine
) -> None:
    job_id = await served.submit()
    run, attempt_id = await driver.claim()
    await engine.fail(run.id, attempt_id, RunError("agent_failed", "It broke."))

    async with opened(served, job_id) as reader:
        events = await reader.rest()

    assert events[-1].data == {
        "status": "failed",
        "job_id": job_id,
        "error": "It broke.",
        "error_code": "agent_failed",
    }
    assert reader.done


async def test_progress_always_has_a_percentage(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    run, attempt_id = await driver.claim()
    await driver.progress(run, attempt_id, Progress(0.0, "Warming up"))
    await driver.progress(run, attempt_id, Progress())
    await served.engine.succeed(run, attempt_id, b"1")

    async with opened(served, job_id) as reader:
        events = [event for event in await reader.rest() if event.event == "progress"]

    assert [event.data for event in events] == [
        {"percentage": 0, "current_step": "Warming up"},
        {"percentage": 0},
    ]


@pytest.mark.parametrize("after", range(5))
async def test_a_stream_goes_on_after_any_event(served: Served, driver: Driver, after: int) -> None:
    job_id = await served.submit()
    run, attempt_id = await driver.claim()
    await driver.log(run, attempt_id, "one", "two")
    await served.engine.succeed(run, attempt_id, b"1")

    async with opened(served, job_id, last=after) as reader:
        by_header = [event.id for event in await reader.rest()]
    async with opened(served, job_id, f"?after={after}") as reader:
        by_query = [event.id for event in await reader.rest()]

    assert by_header == by_query == list(range(after + 1, 6))


async def test_the_header_wins_over_the_address(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.succeed()

    async with opened(served, job_id, "?after=0", last=2) as reader:
        assert [event.id for event in await reader.rest()] == [3]


async def test_coming_back_after_the_end_is_204(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.succeed()

    at_the_end = await served.http.get(f"{URL}/{job_id}/stream", headers={"Last-Event-ID": "3"})
    beyond = await served.http.get(f"{URL}/{job_id}/stream?after=999999999999999")

    assert (at_the_end.status_code, beyond.status_code) == (204, 204)


async def test_a_reader_from_the_future_still_gets_the_end(served: Served, driver: Driver) -> None:
    job_id = await served.submit()

    async with opened(served, job_id, "?after=500") as reader:
        await until(lambda: job_id in served.engine.wakeups.watches, "the stream to be open")
        await driver.succeed("done")
        events = await reader.rest()

    assert events[-1].event == "complete"


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "after=1.5", "named=2", "tokens=yes", f"after={'9' * 99}"]
)
async def test_a_parameter_that_means_nothing_is_400(served: Served, query: str) -> None:
    job_id = await served.submit()

    answer = await served.http.get(f"{URL}/{job_id}/stream?{query}")

    assert answer.status_code == 400


async def test_named_adds_the_kind_as_a_line(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.succeed()

    async with opened(served, job_id, "?named=1") as reader:
        events = await reader.rest()

    assert [event.name for event in events] == ["status", "status", "complete"]


async def test_tokens_are_live_unnumbered_and_only_for_those_who_ask(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    run, attempt_id = await driver.claim()

    async with opened(served, job_id, "?tokens=1") as asking, opened(served, job_id) as other:
        for reader in (asking, other):
            assert [(await reader.next()), (await reader.next())]
        served.engine.relay.publish(job_id, "Once \u2028 upon\n")
        token = await asking.next()
        await served.engine.succeed(run, attempt_id, b"1")
        ends = [await asking.rest(), await other.rest()]

    assert token == Seen(None, "token", {"text": "Once \u2028 upon\n"})
    assert [[event.event for event in end] for end in ends] == [["complete"], ["complete"]]


async def test_every_reader_sees_every_event_of_a_burst(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    run, attempt_id = await driver.claim()

    async def follow() -> list[int | None]:
        async with opened(served, job_id) as reader:
            return [event.id for event in await reader.rest()]

    readers = [asyncio.create_task(follow()) for _ in range(8)]
    await until(lambda: len(served.engine.wakeups.watches.get(job_id, ())) == 8, "all readers to be there")
    for n in range(40):
        await driver.log(run, attempt_id, *(f"{n}.{m}" for m in range(50)))
    await served.engine.succeed(run, attempt_id, b"1")

    for seen in await asyncio.gather(*readers):
        assert seen == list(range(1, 2004))


async def test_a_stream_cut_anywhere_loses_and_repeats_nothing(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    run, attempt_id = await driver.claim()

    async def write() -> None:
        for n in range(60):
            await driver.log(run, attempt_id, *(f"{n}.{m}" for m in range(n % 7)))
        await served.engine.succeed(run, attempt_id, b"1")

    writing = asyncio.create_task(write())
    seen: list[int] = []
    ended = False
    while not ended:
        async with opened(served, job_id, last=seen[-1] if seen else None) as reader:
            for _ in range(9):
                event = await reader.next()
                if event is None:
                    break
                assert event.id is not None
                seen.append(event.id)
                ended = event.event == "complete"
    await writing

    run = await served.engine.get(ME, job_id)
    assert seen == list(range(1, run.seq + 1))


async def test_difficult_text_stays_on_one_line_and_whole(served: Served, driver: Driver) -> None:
    text = 'Zeile\n"quoted" \\ \r\n\t\u2028\u2029\x85 🦜 \x00 <>&' * 140_000
    job_id = await served.submit()
    run, attempt_id = await driver.claim()
    await driver.log(run, attempt_id, text[:1000])
    await served.engine.succeed(run, attempt_id, msgspec.json.encode(text))

    async with opened(served, job_id) as reader:
        events = await reader.rest()

    assert events[2].data == {"message": text[:1000]}
    assert events[3].data["result"] == text


async def test_json_with_white_space_stays_on_one_line(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.succeed_json(b'{\r\n  "a": [1,\n 2]\n}')

    async with opened(served, job_id) as reader:
        assert (await reader.rest())[-1].data["result"] == {"a": [1, 2]}


def test_one_line_means_what_the_many_did() -> None:
    text = '{"a":\n"\u2028\u2029\x85"}'

    line = on_one_line(text.encode())

    assert len(line.decode().splitlines()) == 1
    assert json.loads(line) == json.loads(text)


async def test_a_result_above_8_mib_is_named_in_the_end(served: Served, driver: Driver) -> None:
    job_id = await served.submit()
    await driver.succeed("x" * (8 * 1024 * 1024))

    async with opened(served, job_id) as reader:
        end = (await reader.rest())[-1].data

    assert end["result_url"] == f"{served.url}{URL}/{job_id}/result/raw"
    assert "result" not in end


async def test_a_silent_stream_gives_signs_of_life(
    served: Served, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.02)
    job_id = await served.submit()

    async with opened(served, job_id) as reader:
        await reader.next()
        reading = asyncio.create_task(reader.next())
        await until(lambda: reader.heartbeats >= 3, "three heartbeats")
        await driver.claim()
        event = await reading

    assert event == Seen(2, "status", {"status": "running", "attempt": 1})


async def test_a_draining_server_ends_the_stream_without_done(served: Served, driver: Driver) -> None:
    job_id = await served.submit()

    async with opened(served, job_id) as reader:
        await reader.next()
        served.drain()
        assert await reader.rest() == []
    assert not reader.done
    served.draining.clear()
    await driver.succeed()

    async with opened(served, job_id, last=1) as reader:
        assert [event.id for event in await reader.rest()] == [2, 3]
    assert reader.done


async def test_a_reader_that_goes_away_is_noticed(served: Served) -> None:
    job_id = await served.submit()

    async with opened(served, job_id) as reader:
        await reader.next()
        assert (await served.http.get("/stats")).json()["open_streams"] == 1

    await until(lambda: job_id not in served.engine.wakeups.watches, "the server to stop watching")
    assert (await served.http.get("/stats")).json()["open_streams"] == 0


async def test_head_answers_without_opening_a_stream(served: Served) -> None:
    job_id = await served.submit()

    async with asyncio.timeout(5):
        answer = await served.http.head(f"{URL}/{job_id}/stream")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
