"""One line on the terminal that tells how far something is, rewritten in place and gone at the end."""

import os
import shutil
import sys
from types import TracebackType
from typing import Self

from outlast.clock import SystemClock
from outlast.commands.show import plain


class LiveLine:
    """Shown on stderr, and only where a person looks at it. Nothing of it stays."""

    def __init__(self) -> None:
        self.is_shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._clock = SystemClock()
        self._began = self._clock.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write("")

    def show(self, *words: str) -> None:
        """How far it is, after the time since the line began."""
        elapsed = f"{self._clock.monotonic() - self._began:.0f}s"
        line = "  ".join((elapsed, *filter(None, words)))
        self._write(plain(line)[: shutil.get_terminal_size().columns - 1])

    def _write(self, line: str) -> None:
        if self.is_shown:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
