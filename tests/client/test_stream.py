"""A run's events: read to the end whatever the connection does, each once and in order."""

import pytest

from outlast.client import AsyncClient, Client, Event, NotFound, ServerError, Unreachable
from tests.client.scripted import HANG_UP, Reply, ScriptedServer, events, problem

STREAM = "GET /api/v1/runs/run_01k/stream"
QUEUED = 'id: 1\ndata: {"event":"status","data":{"status":"queued"}}'
HALF = 'id: 2\ndata: {"event":"progress","data":{"percentage":50}}'
LOG = 'id: 3\ndata: {"event":"log","data":{"message":"hello"}}'
END = 'id: 4\ndata: {"event":"complete","data":{"status":"succeeded","job_id":"run_01k","result":"4"}}'
DONE = "data: [DONE]"
TOKEN = 'data: {"event":"token","data":{"text":"4"}}'


def ids(seen: list[Event]) -> list[int | None]:
    return [event.id for event in seen]


def test_events_are_typed_and_the_stream_ends(server: ScriptedServer, client: Client) -> None:
    server.on(STREAM, events(": alive", QUEUED, HALF, LOG, END, DONE))

    seen = list(client.stream("run_01k"))

    assert [event.event for event in seen] == ["status", "progress", "log", "complete"]
    assert seen[1].data == {"percentage": 50}
    assert seen[-1].is_last
    assert len(server.requests) == 1


def test_a_broken_stream_is_taken_up_where_it_broke(server: ScriptedServer, client: Client) -> None:
    half_said = LOG[:-7]
    server.on(
        STREAM,
        Reply(200, f"{QUEUED}\n\n{HALF}\n\n{half_said}".encode(), cut=True),
        HANG_UP,
        problem(503, "draining", "Later."),
        events(LOG, END, DONE),
    )

    seen = list(client.stream("run_01k"))

    assert ids(seen) == [1, 2, 3, 4]
    assert [request.headers.get("last-event-id") for request in server.requests] == [None, "2", "2", "2"]


def test_a_stream_that_ends_early_is_asked_for_again(server: ScriptedServer, client: Client) -> None:
    server.on(STREAM, events(QUEUED), events(HALF, LOG, END, DONE))

    assert ids(list(client.stream("run_01k"))) == [1, 2, 3, 4]


def test_what_was_seen_is_not_given_again(server: ScriptedServer, client: Client) -> None:
    server.on(STREAM, events(QUEUED, HALF, cut=True), events(QUEUED, HALF, LOG, END, DONE))

    assert ids(list(client.stream("run_01k"))) == [1, 2, 3, 4]


def test_nothing_more_to_say_ends_the_stream(server: ScriptedServer, client: Client) -> None:
    server.on(STREAM, Reply(204))

    assert list(client.stream("run_01k", after=4)) == []
    assert server.requests[0].headers["last-event-id"] == "4"


def test_the_last_event_ends_the_stream_though_the_connection_breaks_after_it(
    server: ScriptedServer, client: Client
) -> None:
    server.on(STREAM, events(QUEUED, END, cut=True))

    assert ids(list(client.stream("run_01k"))) == [1, 4]
    assert len(server.requests) == 1


def test_tokens_come_on_request(server: ScriptedServer, client: Client) -> None:
    server.on(STREAM, events(QUEUED, TOKEN, TOKEN, END, DONE))

    seen = list(client.stream("run_01k", tokens=True))

    assert ids(seen) == [1, None, None, 4]
    assert server.requests[0].query == {"tokens": "1"}


def test_a_text_with_unicode_line_breaks_stays_whole(server: ScriptedServer, client: Client) -> None:
    text = "a\u2028b\u2029c\u0085d"
    server.on(
        STREAM, events(f'id: 1\r\ndata: {{"event":"log","data":{{"message":"{text}"}}}}\r\n', END, DONE)
    )

    assert next(client.stream("run_01k")).data == {"message": text}


def test_a_line_may_arrive_in_any_pieces(server: ScriptedServer, client: Client) -> None:
    long = f'id: 1\ndata: {{"event":"log","data":{{"message":"{"ä" * 300_000}"}}}}'
    server.on(STREAM, events(long, END, DONE))

    first, _last = client.stream("run_01k")

    assert first.data["message"] == "ä" * 300_000


def test_no_such_run_is_an_error_at_once(server: ScriptedServer, client: Client) -> None:
    server.on(STREAM, problem(404, "run_not_found", "There is no run run_01k."))

    with pytest.raises(NotFound):
        next(client.stream("run_01k"))


def test_a_bug_of_the_server_is_not_asked_for_again(server: ScriptedServer, client: Client) -> None:
    server.on(STREAM, problem(500, "internal_error", "Oh."))

    with pytest.raises(ServerError):
        next(client.stream("run_01k"))

    assert len(server.requests) == 1


def test_patience_with_a_server_that_is_gone_ends(server: ScriptedServer) -> None:
    server.on(STREAM, events(QUEUED, cut=True), HANG_UP)

    with Client(server.url, patience_s=0.5) as client, pytest.raises(Unreachable):
        list(client.stream("run_01k"))


def test_a_reader_may_leave_early(server: ScriptedServer, client: Client) -> None:
    server.on(STREAM, events(QUEUED, HALF, LOG, END, DONE))

    stream = client.stream("run_01k")
    next(stream)
    stream.close()


async def test_the_asyncio_client_resumes_alike(server: ScriptedServer) -> None:
    server.on(STREAM, events(QUEUED, HALF, cut=True), HANG_UP, events(LOG, END, DONE))

    async with AsyncClient(server.url) as client:
        seen = [event async for event in client.stream("run_01k", tokens=True)]

    assert ids(seen) == [1, 2, 3, 4]
    assert [request.headers.get("last-event-id") for request in server.requests] == [None, "2", "2"]
