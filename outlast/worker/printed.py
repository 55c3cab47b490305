"""What a program prints, on its way: to the run's log, to a terminal if there is one; the last line is the result.

A thread for each of its two pipes. To the terminal goes every byte as it came, and nobody reads faster than it takes
them; without one, the pipes are read at a pace that no program can set.
"""

import fcntl
import os
import select
import struct
import termios
import threading
import time

from outlast.engine import MAX_RESULT
from outlast.worker.context import RunContext
from outlast.worker.logs import Lines

READ_MAX = 64 * 1024
PAUSE_S = 0.015
"""Between two reads when nobody watches: at most 4 MiB a second."""


class LastLine:
    """The last line with something in it, of all that was fed; its beginning, if it is too long for a result."""

    def __init__(self) -> None:
        self._last = b""
        self._open = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what came next."""
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            lines = (bytes(self._open) + whole).rstrip()
            self._last = lines[lines.rfind(b"\n") + 1 :] or self._last
            self._open.clear()
        if len(self._open) <= MAX_RESULT:
            self._open += rest

    @property
    def text(self) -> str:
        """The line; empty if there was none."""
        return (bytes(self._open).rstrip() or self._last).decode("utf-8", "replace")


class Pump(threading.Thread):
    """Reads one of a program's pipes until its end, or until what is in it when the program has ended."""

    def __init__(self, source: int, context: RunContext, terminal: int | None, last: LastLine | None) -> None:
        """`source` is closed at the end, `terminal` is left open."""
        super().__init__(daemon=True)
        self._source = source
        self._context = context
        self._terminal = terminal
        self._paces = terminal is None
        self._last = last
        self._lines = Lines()
        self._ended, self._end = os.pipe()

    def finish(self) -> None:
        """The program has ended: read what it has left, and no more, for its children may print for ever."""
        os.write(self._end, b".")
        self.join()
        os.close(self._end)
        os.close(self._ended)

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.register(self._ended, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._ended in ready:
                self._read_rest()
                break
            if not self._read(READ_MAX):
                break
            if self._paces:
                time.sleep(PAUSE_S)
        for line in self._lines.end():
            self._context.log(line)
        os.close(self._source)

    def _read_rest(self) -> None:
        left: int = struct.unpack("i", fcntl.ioctl(self._source, termios.FIONREAD, bytes(4)))[0]
        while left > 0 and (read := self._read(min(left, READ_MAX))):
            left -= read

    def _read(self, most: int) -> int:
        data = os.read(self._source, most)
        if data:
            self._show(data)
            self._log(data)
            if self._last is not None:
                self._last.feed(data)
        return len(data)

    def _log(self, data: bytes) -> None:
        lines, passed = self._lines.feed(data, self._context.room)
        for line in lines:
            self._context.log(line)
        self._context.skip(passed)

    def _show(self, data: bytes) -> None:
        """Write it to the terminal; to one that is gone, nothing more. The run goes on without its watcher."""
        rest = memoryview(data)
        while rest and self._terminal is not None:
            try:
                rest = rest[os.write(self._terminal, rest) :]
            except BlockingIOError:  # somebody else who has it made it so
                select.select([], [self._terminal], [])
            except OSError:
                self._terminal = None
