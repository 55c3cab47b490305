"""An attempt's log on its way to the store: in order, in batches, and bounded.

An agent may print for ever. It then gets its 200 lines a second kept, until its run has 64 MiB; the rest is counted
and told in one event for each period of dropping. Nothing here reads faster than the store takes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec

from outlast.clock import Clock
from outlast.runs import Draft, EventKind, Progress

LINE_MAX = 16 * 1024
LINES_PER_S = 200
LOG_MAX = 64 * 1024 * 1024
"""Bytes of log kept of one run, its earlier attempts included."""
PAUSE_S = 0.05
"""Events of one attempt are written at most this often."""
LONG_PAUSE_S = 0.25
"""And those of a talkative one at most this often: twenty of them are a load on the store."""
TALKATIVE = 10
PENDING_MAX = 4 * 1024 * 1024
"""Bytes of events that may wait for the store; what comes on top is dropped."""
PENDING_MANY = 512 * 1024
"""Bytes of waiting events at which an agent's output is no longer read."""
_CUT = f" … [cut: the line is longer than {LINE_MAX} bytes]"

Write = Callable[[Sequence[Draft], Progress | None], Awaitable[object]]
"""Stores events; has its own patience, and raises nothing."""


def presentable(text: str, limit: int | None) -> str:
    """Text that any UTF-8 reader takes: surrogates without a partner become U+FFFD; cut to `limit` characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text if limit is None or len(text) <= limit else f"{text[:limit]}…"


class Lines:
    """Cuts a byte stream into lines of bounded length."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes, most: int) -> tuple[list[str], int]:
        """Up to `most` of the lines that are complete now, and how many were passed over.

        Passing over costs next to nothing, an endless line is cut and its remainder forgotten.
        """
        *whole, rest = (self._rest + data).split(b"\n", most)
        passed = rest.count(b"\n")
        self._rest = rest[rest.rfind(b"\n") + 1 :][: LINE_MAX + 1]
        return [_line(line) for line in whole], passed

    def end(self) -> list[str]:
        """The last line, if it had no end."""
        rest, self._rest = self._rest, b""
        return [_line(rest)] if rest else []


def _line(line: bytes) -> str:
    return line.decode("utf-8", "replace").removesuffix("\r")


def fitting(text: str) -> str:
    """A line of at most `LINE_MAX` bytes of UTF-8, and a word about it if it was longer."""
    if len(text) * 4 <= LINE_MAX or len(data := text.encode()) <= LINE_MAX:
        return text
    return data[:LINE_MAX].decode("utf-8", "ignore") + _CUT


class Meter:
    """Lets as much of an attempt's log through as may be kept, and says what it held back."""

    def __init__(self, clock: Clock, lines_per_s: int = LINES_PER_S) -> None:
        self._clock = clock
        self._lines_per_s = lines_per_s
        self._window = float("-inf")
        self._lines = 0
        self._bytes = 0
        self._dropped = 0
        self._said_full = False

    def recall(self, size: int) -> None:
        """Count what earlier attempts of the run have left in its log."""
        self._bytes += size

    @property
    def room(self) -> int:
        """How many lines may still come in this second."""
        now = self._clock.monotonic()
        if now - self._window >= 1:
            self._window, self._lines = now, 0
        return max(0, self._lines_per_s - self._lines) if self._bytes < LOG_MAX else 0

    def take(self, message: str) -> list[str]:
        """What to record now that this line has come: nothing, the line, or a word about the lost ones before it."""
        if not self.room:
            return self.drop(1)
        line = fitting(message)
        self._lines += 1
        self._bytes += len(line) + 1
        return [*self.end(), line]

    def drop(self, lines: int) -> list[str]:
        """Count lines as lost; when the log is full, that is said once."""
        self._dropped += lines
        if self._bytes < LOG_MAX or self._said_full:
            return []
        self._said_full = True
        return [f"The log has reached {LOG_MAX // 2**20} MiB; no more of it is kept."]

    def end(self) -> list[str]:
        """The word about lost lines that is still owed."""
        dropped, self._dropped = self._dropped, 0
        return [f"{dropped} lines dropped: there were too many at once."] if dropped else []


class Recorder:
    """One attempt's events: collected, then written every 50 ms, the newest progress at the end of each batch."""

    def __init__(self, write: Write, meter: Meter) -> None:
        self._write = write
        self._meter = meter
        self._drafts: list[Draft] = []
        self._pending = 0
        self._progress: Progress | None = None
        self._closed = False
        self._pause_s = PAUSE_S
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None

    @property
    def is_behind(self) -> bool:
        """The store does not keep up: better read no more for now."""
        return self._pending >= PENDING_MANY

    @property
    def room(self) -> int:
        """How many lines it would keep right now."""
        return self._meter.room if self._pending < PENDING_MAX else 0

    def recall(self, size: int) -> None:
        """Count what earlier attempts of the run have left in its log."""
        self._meter.recall(size)

    def skip(self, lines: int) -> None:
        """Count lines that nobody even looked at."""
        if lines and not self._closed:
            self._add(self._meter.drop(lines))
            self._arm()

    def log(self, message: str) -> None:
        """Take a line, or count it as lost."""
        if not self._closed:
            self._add(self._meter.take(message) if self._pending < PENDING_MAX else self._meter.drop(1))
            self._arm()

    def progress(self, progress: Progress) -> None:
        """Take the newest progress; one that was not written yet is forgotten."""
        if not self._closed:
            self._progress = progress
            self._arm()

    async def close(self) -> None:
        """Write what is left; nothing is taken any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
        self._add(self._meter.end())
        await self._flush()

    def discard(self) -> None:
        """Forget what is left: the attempt no longer holds its run."""
        self._closed = True
        self._drafts, self._progress, self._pending = [], None, 0

    def _add(self, messages: Iterable[str]) -> None:
        for message in messages:
            draft = Draft(EventKind.LOG, msgspec.json.encode({"message": message}))
            self._drafts.append(draft)
            self._pending += len(draft.data)

    def _arm(self) -> None:
        if self._timer is None and self._flushing is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._start)

    def _start(self) -> None:
        self._timer = None
        if self._drafts or self._progress:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())
            self._flushing.add_done_callback(self._flushed)

    def _flushed(self, task: asyncio.Task[None]) -> None:
        self._flushing = None
        if not self._closed and (self._drafts or self._progress):
            self._arm()

    async def _flush(self) -> None:
        drafts, progress = self._drafts, self._progress
        self._pause_s = LONG_PAUSE_S if len(drafts) >= TALKATIVE else PAUSE_S
        self._drafts, self._progress = [], None
        if drafts or progress:
            await self._write(drafts, progress)
            self._pending = sum(len(draft.data) for draft in self._drafts)
