"""An attempt's own process as the parent sees it: the link its outcome comes on, and the pipe it prints into.

Both are read at a pace that no agent can set, so one that prints for ever slows only itself.
"""

import asyncio
import os
import socket
from collections.abc import Callable

from outlast.runners.protocol import Done, Failed, Logged, Stopped, ToChild, ToParent
from outlast.transitions import Cause
from outlast.worker.attempt import Attempt
from outlast.worker.link import TO_PARENT, Link
from outlast.worker.logs import Lines
from outlast.worker.outcome import exited

READ_MAX = 64 * 1024
READ_PAUSE_S = 0.015
"""Between two reads of what an agent prints: at most 4 MiB and 66 wake-ups a second."""
LAST_WORDS_MAX = 4 * 1024 * 1024
FRAMES_MAX = 500
"""Frames in a row after which an agent's link is left alone for a moment: its own side never sends as many."""
FRAMES_PAUSE_S = 0.02
LINGER_S = 1.0
"""How long a process may take to end when it has said its last word, or has closed its link."""


class AgentProcess:
    """An attempt's process, as far as the parent sees it."""

    def __init__(
        self, attempt: Attempt, link: socket.socket, output: int, on_linger: Callable[[str], None]
    ) -> None:
        os.set_blocking(output, False)
        self.attempt = attempt
        self.is_gone = False
        self._loop = asyncio.get_running_loop()
        self._link: Link[ToChild, ToParent] = Link(link, TO_PARENT, self._hear, self._cut_off)
        self._output: int | None = output
        self._lines = Lines()
        self._on_linger = on_linger
        self._loop.add_reader(output, self._read)

    def send(self, frame: ToChild) -> None:
        self._link.send(frame)

    def over(self, code: int | None) -> None:
        """Nothing of it is left: take in what it said last. A null code: it never was, or died with the fork server."""
        self.is_gone = True
        self._link.drain()
        self._link.close()
        self._read_rest()
        if code is not None and code >= 0 and self.attempt.outcome is None:
            self.attempt.heard(exited(self.attempt.id, f"ended its own process with exit code {code}"))
        self.attempt.gone(Cause.WORKER if code is None else Cause.OWN_PROCESS)

    def _hear(self, frames: list[ToParent]) -> None:
        for frame in frames:
            self.attempt.heard(frame)
            if isinstance(frame, Done | Failed | Stopped):
                self._linger()
        if len(frames) > FRAMES_MAX:
            self._link.pause(FRAMES_PAUSE_S)

    def _linger(self) -> None:
        self._loop.call_later(LINGER_S, self._on_linger, self.attempt.id)

    def _cut_off(self) -> None:
        """Its link is closed: because it has just ended, or it is to be ended, for it can say nothing any more."""
        if not self.is_gone:
            self._loop.call_later(LINGER_S, self._check_ended)

    def _check_ended(self) -> None:
        if not self.is_gone:
            self.attempt.heard(exited(self.attempt.id, "closed its connection to Outlast"))
            self._on_linger(self.attempt.id)

    def _read(self) -> None:
        if self._output is None:
            return
        self._loop.remove_reader(self._output)
        if self._read_once():
            self._loop.call_later(READ_PAUSE_S, self._read_on)

    def _read_on(self) -> None:
        if self._output is not None and not self.is_gone:
            if self.attempt.recorder.is_behind:
                self._loop.call_later(READ_PAUSE_S, self._read_on)
            else:
                self._loop.add_reader(self._output, self._read)

    def _read_once(self) -> int:
        """How many bytes there were; at the end the pipe is closed."""
        if self._output is None:
            return 0
        try:
            data = os.read(self._output, READ_MAX)
        except BlockingIOError:
            return 0
        if data:
            self._log(data)
        else:
            self._close_output()
        return len(data)

    def _log(self, data: bytes) -> None:
        if self.attempt.is_decided:
            return
        recorder = self.attempt.recorder
        lines, passed = self._lines.feed(data, recorder.room)
        for line in lines:
            self.attempt.heard(Logged(self.attempt.id, line))
        recorder.skip(passed)

    def _read_rest(self) -> None:
        left = LAST_WORDS_MAX
        while left > 0 and (read := self._read_once()):
            left -= read
        for line in self._lines.end():
            self.attempt.heard(Logged(self.attempt.id, line))
        self._close_output()

    def _close_output(self) -> None:
        if self._output is not None:
            self._loop.remove_reader(self._output)
            os.close(self._output)
            self._output = None
