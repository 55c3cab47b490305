"""The judge judged: a small history in which all is well, and for each promise one in which it is broken."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.chaos.checker import PROMISES, check
from tests.chaos.history import Audit, Call, Ended, Harm, History, Left, Record, Said, Seen, Stream, read
from tests.chaos.story import Story
from tests.chaos.summary import summary

AUDIT_AT = 100.0
RUNS = "/api/v1/runs"


def call(at: float, path: str, answer: object, *, status: int = 200, body: object = None) -> Call:
    """A request that took a tenth of a second; a POST if it has a body."""
    return Call(
        asked_at=at,
        answered_at=at + 0.1,
        client="c",
        server=0,
        method="GET" if body is None else "POST",
        path=path,
        body=None if body is None else json.dumps(body),
        status=status,
        answer=json.dumps(answer),
    )


def view(n: int, status: str = "succeeded", **more: object) -> dict[str, object]:
    """How a status shows run number n, which waited 2 s for its turn."""
    times = {"created_at": "2026-11-22T00:00:00.000Z", "started_at": "2026-11-22T00:00:02.000Z"}
    return {
        "job_id": f"run_{n}",
        "status": status,
        "attempt": 1,
        "metadata": {"order": f"o{n}"},
        **times,
        **more,
    }


def submit(at: float, n: int, of: int | None = None, **more: object) -> Call:
    """Run n is accepted, for the order of that number."""
    order = {"prompt": f"prompt {of or n}", "metadata": {"order": f"o{of or n}"}, "session_id": "s", **more}
    return call(at, RUNS, {"job_id": f"run_{n}", "status": "queued"}, status=202, body=order)


def events(n: int, status: str = "succeeded") -> list[Seen]:
    result = {"result": f"prompt {n}"} if status == "succeeded" else {}
    told = [
        ("status", {"status": "queued"}),
        ("status", {"status": "running"}),
        ("complete", {"status": status, **result}),
    ]
    lines = [json.dumps({"event": kind, "data": data}, separators=(",", ":")) for kind, data in told]
    return [Seen(float(seq), seq, line) for seq, line in enumerate(lines, 1)]


def stream(at: float, n: int, seen: list[Seen], *, done: bool = True, after: int = 0) -> Stream:
    return Stream(
        asked_at=at,
        ended_at=at + 1,
        client="c",
        server=1,
        run_id=f"run_{n}",
        status=200,
        events=seen,
        done=done,
        after=after,
    )


def said(at: float, word: str, n: int, attempt: int = 1) -> Said:
    return Said(at=at, word=word, run_id=f"run_{n}", attempt=attempt)


def well() -> list[Record]:
    """Two runs of one session, one after the other; the answer to the first submit of the second got lost."""
    lost = replace(submit(1.5, 2), status=None, answer="ServerDisconnectedError: ")
    return [
        submit(1, 1),
        lost,
        Harm(at=1.55, kind="server killed", target="server1"),
        replace(submit(2, 2), again=1, replayed=True),
        stream(2.2, 1, events(1)[:2], done=False),
        stream(4, 1, events(1)[2:], after=2),
        call(5, f"{RUNS}/run_1", view(1)),
        call(6, f"{RUNS}/run_1/result", {"job_id": "run_1", "status": "succeeded", "result": "prompt 1"}),
        call(7, f"{RUNS}/run_2/cancel", {"code": "run_finished"}, status=400),
        Audit(at=AUDIT_AT),
        call(101, f"{RUNS}?page_size=100", {"jobs": [view(2), view(1)]}),
        stream(102, 1, events(1)),
        stream(102, 2, events(2)),
        said(3, "begin", 1),
        said(3.5, "end", 1),
        said(3.6, "begin", 2),
        said(4, "end", 2),
    ]


def listed(*jobs: dict[str, object]) -> Callable[[list[Record]], None]:
    """The audit's list shows these instead."""

    def change(records: list[Record]) -> None:
        records[10] = call(101, f"{RUNS}?page_size=100", {"jobs": list(jobs)})

    return change


def also(*more: Record) -> Callable[[list[Record]], None]:
    """These have happened too."""

    def change(records: list[Record]) -> None:
        records.extend(more)

    return change


def instead(of: int, record: Record) -> Callable[[list[Record]], None]:
    def change(records: list[Record]) -> None:
        records[of] = record

    return change


CANCEL = call(3, f"{RUNS}/run_1/cancel", {"job_id": "run_1", "status": "cancelled"}, body={})
REFUSED = {"code": "internal_error", "status": 500}
BATCH = call(8, f"{RUNS}/batch", {"results": [REFUSED]}, status=207, body={"runs": [{"prompt": "p"}]})
LATE = submit(9, 3, delay=5.0, session_id=None)
BROKEN = [
    ("no accepted run is lost", listed(view(1))),
    ("no accepted run is lost", instead(12, stream(102, 2, events(2)[:1], done=False))),
    ("no accepted run is lost", also(call(8, f"{RUNS}/run_2", {"code": "run_not_found"}, status=404))),
    ("every run ends", listed(view(1), view(2, "running"))),
    ("every run ends", listed(view(1), view(2), view(3, "queued"))),
    ("an order makes one run", also(submit(9, 3, of=2))),
    ("an order makes one run", listed(view(1), view(2), view(3, metadata={"order": "o2"}))),
    ("an order makes one run", also(submit(9, 2, of=4))),
    ("there is one terminal event, and it is the last", also(stream(9, 1, [replace(events(1)[2], seq=4)], after=3))),
    ("there is one terminal event, and it is the last", also(stream(9, 1, [replace(events(1)[1], seq=4)], after=3))),
    ("there is one terminal event, and it is the last", instead(12, stream(102, 2, events(2)[:2]))),
    ("events are numbered without a gap", also(stream(9, 1, [events(1)[0], events(1)[2]]))),
    ("events are numbered without a gap", also(stream(9, 1, events(1)[1:]))),
    ("events are numbered without a gap", also(stream(9, 1, events(1)[1:], after=2))),
    ("an event never changes or disappears", also(stream(9, 1, [replace(events(1)[0], data=events(1)[1].data)]))),
    ("an event never changes or disappears", also(stream(9, 1, [replace(events(1)[1], seq=4)], after=3))),
    ("a final status never changes", also(call(8, f"{RUNS}/run_1", view(1, "failed")))),
    ("a final status never changes", also(call(8, f"{RUNS}/run_1", view(1, "running")))),
    ("attempts are counted upwards", also(call(3, f"{RUNS}/run_2", view(2, "running", attempt=2)))),
    ("a cancelled run stays cancelled", also(CANCEL)),
    ("the result belongs to the prompt", also(call(6, f"{RUNS}/run_1/result", {"job_id": "run_1", "result": "?"}))),
    ("the result belongs to the prompt", instead(12, stream(102, 2, events(1)))),
    ("a run fails only when its own process died again and again", listed(view(1), view(2, "failed"))),
    ("an attempt starts once", also(said(3.7, "begin", 2))),
    ("a session with one place runs one at a time", instead(15, said(3.4, "begin", 2))),
    ("a session with one place runs in order", also(said(5, "begin", 1), said(5.5, "end", 1))),
    ("a run for later is not early", also(LATE, call(103, f"{RUNS}?cursor=x", {"jobs": [view(3)]}))),
    ("every answer makes sense", also(call(8, f"{RUNS}/run_1", {"code": "internal_error"}, status=500))),
    ("every answer makes sense", also(call(8, f"{RUNS}/run_1", {"code": "store_unavailable"}, status=503))),
    ("every answer makes sense", also(BATCH)),
    ("every answer makes sense", also(replace(stream(8, 1, []), status=500, done=False))),
    ("nothing ends by itself", also(Ended(at=50, target="worker1", code=1, age_s=80))),
    ("nothing is left behind", also(Left(at=200, pid=7, name="python"))),
]  # fmt: skip


def test_a_history_in_which_all_is_well_breaks_no_promise() -> None:
    assert check(well()) == {}


@pytest.mark.parametrize(("promise", "change"), BROKEN)
def test_a_broken_promise_is_found(promise: str, change: Callable[[list[Record]], None]) -> None:
    records = well()
    change(records)

    assert promise in check(records)


def test_each_promise_is_broken_by_one_of_these_histories() -> None:
    assert {promise for promise, _ in BROKEN} == set(PROMISES)


def test_an_attempt_that_was_given_up_may_linger_in_its_session() -> None:
    """At least once: who was stopped and went on later still says so, and nothing it does counts."""
    records = well()
    listed(view(1, attempt=2), view(2))(records)
    records += [said(3.6, "end", 1), said(3.51, "begin", 1, 2), said(3.55, "end", 1, 2)]
    records.remove(said(3.5, "end", 1))

    assert check(records) == {}


def test_a_run_whose_process_died_three_times_may_fail() -> None:
    records = well()
    listed(view(1), view(2, "failed", error_code="worker_lost", attempt=3))(records)
    instead(12, stream(102, 2, events(2, "failed")))(records)

    assert check(records) == {}


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    for record in [*well(), Left(at=1, pid=2, name="x"), Ended(at=1, target="w", code=1, age_s=3)]:
        history.write(record)
    history.close()

    again = list(read(history.path))

    assert again[:-2] == well()
    assert {"nothing is left behind"} == set(check(again))


def test_the_summary_counts_what_happened_and_names_what_was_broken() -> None:
    text = summary(Story(well()), {"every run ends": ["run_2 is queued in the end"]})

    assert "runs accepted 2, found 2: 2 succeeded" in text
    assert "harms 1: 1 server killed" in text
    assert "1 without answer, 1 asked again, 1 duplicates avoided" in text
    assert text.endswith("BROKEN: every run ends (1 times)\n  run_2 is queued in the end")
