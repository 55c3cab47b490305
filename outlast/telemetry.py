"""Log lines: one event each, with fields. Never a prompt, a result or a secret.

log = telemetry.get("worker")
log.info("attempt started", run_id=run.id, attempt=2)
"""

import logging
import sys
from typing import TextIO

import msgspec

from outlast.clock import iso

Field = str | int | float | bool | None


class Log:
    """A logger whose lines carry fields."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"outlast.{name}")

    def debug(self, event: str, **fields: Field) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Field) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Field) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, *, exc: BaseException | None = None, **fields: Field) -> None:
        """A bug or a broken surrounding; `exc` adds the traceback."""
        self._write(logging.ERROR, event, fields, exc)

    def _write(
        self, level: int, event: str, fields: dict[str, Field], exc: BaseException | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields}, exc_info=exc)


def get(name: str) -> Log:
    """The log of one part of Outlast."""
    return Log(name)


def set_up(log_format: str = "text", *, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Write Outlast's log lines to `stream` (stderr), as text for people or JSON for machines."""
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_JsonLines() if log_format == "json" else _TextLines())
    logger = logging.getLogger("outlast")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


class _Handler(logging.StreamHandler[TextIO]):
    """A line that cannot be written, as on a full disk, is lost: a traceback in its place helps nobody."""

    def handleError(self, record: logging.LogRecord) -> None:  # logging's name for it
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        words = "".join(f" {key}={value}" for key, value in _fields(record).items() if value is not None)
        when, level = iso(round(record.created * 1000)), record.levelname.lower()
        line = f"{when} {level:7} {record.name}: {record.getMessage()}{words}"
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Field] = {
            "at": iso(round(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def _fields(record: logging.LogRecord) -> dict[str, Field]:
    fields: dict[str, Field] = getattr(record, "fields", {})
    return fields
