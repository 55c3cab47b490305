"""An attempt's log: cut, counted, bounded, and written in batches."""

from collections.abc import Sequence

import msgspec
import pytest

from outlast.clock import FakeClock
from outlast.runs import Draft, Progress
from outlast.worker.logs import LINE_MAX, LINES_PER_S, LOG_MAX, Lines, Meter, Recorder, presentable
from tests.worker.conftest import until


def test_lines_are_put_together_from_pieces() -> None:
    lines = Lines()

    assert lines.feed(b"one\ntw", 100) == (["one"], 0)
    assert lines.feed(b"o", 100) == ([], 0)
    assert lines.feed(b"\r\n\nthree", 100) == (["two", ""], 0)
    assert lines.end() == ["three"]
    assert lines.end() == []


def test_lines_beyond_the_asked_number_are_only_counted() -> None:
    lines = Lines()

    assert lines.feed(b"1\n2\n3\n4\n5", 2) == (["1", "2"], 2)
    assert lines.feed(b"\n6\n", 0) == ([], 2)
    assert lines.feed(b"7\n", 1) == (["7"], 0)


def test_an_endless_line_takes_no_more_memory_than_a_long_one() -> None:
    lines = Lines()

    for _ in range(100):
        assert lines.feed(b"x" * LINE_MAX, 100) == ([], 0)
    (line,), passed = lines.feed(b"\n", 100)

    assert len(line) == LINE_MAX + 1
    assert passed == 0


def test_more_lines_than_a_second_may_have_are_lost_and_told_in_one_word() -> None:
    clock = FakeClock()
    meter = Meter(clock)

    kept = [line for n in range(LINES_PER_S + 50) for line in meter.take(f"{n}")]
    clock.advance(1)

    assert len(kept) == LINES_PER_S
    assert meter.take("next") == ["50 lines dropped: there were too many at once.", "next"]
    assert meter.end() == []


def test_a_full_log_says_so_once_and_takes_nothing_more() -> None:
    clock = FakeClock()
    meter = Meter(clock)
    line = "x" * LINE_MAX
    for _ in range(LOG_MAX // (LINE_MAX + 1) + 1):
        clock.advance(0.01)
        assert meter.take(line) == [line]

    assert meter.take(line) == ["The log has reached 64 MiB; no more of it is kept."]
    clock.advance(60)
    assert meter.take(line) == []
    assert meter.room == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("lone \ud800", "lone \ufffd"),
        ("pair \ud83d\ude00", "pair 😀"),
        ("\udfff", "\ufffd"),
    ],
)
def test_surrogates_become_something_that_can_be_stored(text: str, shown: str) -> None:
    assert presentable(text, None) == shown


def test_a_line_is_cut_by_its_bytes_and_never_inside_a_character() -> None:
    (line,) = Meter(FakeClock()).take("ü" * LINE_MAX)

    assert line.startswith("ü" * (LINE_MAX // 2) + " … [cut")
    assert Meter(FakeClock()).take(line) == [line]


class Written:
    """A store of batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], Progress | None]] = []

    async def __call__(self, drafts: Sequence[Draft], progress: Progress | None) -> None:
        self.batches.append(([msgspec.json.decode(draft.data)["message"] for draft in drafts], progress))


async def test_what_comes_together_is_written_together_with_the_newest_progress() -> None:
    written = Written()
    recorder = Recorder(written, Meter(FakeClock()))

    for n in range(3):
        recorder.log(f"line {n}")
        recorder.progress(Progress(percentage=n))
    await until(lambda: bool(written.batches), 5, "the first batch")
    recorder.log("last")
    await recorder.close()

    assert written.batches == [(["line 0", "line 1", "line 2"], Progress(percentage=2)), (["last"], None)]


async def test_nothing_is_taken_after_the_end() -> None:
    written = Written()
    recorder = Recorder(written, Meter(FakeClock()))

    await recorder.close()
    recorder.log("late")
    recorder.progress(Progress(percentage=1))
    await recorder.close()

    assert written.batches == []


async def test_what_was_lost_at_last_is_told_at_the_end() -> None:
    written = Written()
    recorder = Recorder(written, Meter(FakeClock()))

    for n in range(LINES_PER_S + 1):
        recorder.log(f"{n}")
    await recorder.close()

    ((lines, _),) = written.batches
    assert lines[-1] == "1 lines dropped: there were too many at once."
