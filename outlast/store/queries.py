"""Loads the SQL files: one query a file, named as what it does.

`:rows` in a file stands for the rows of a set-wise write. A statement is made for 1, 2, 4, 8 … rows, so that a
batch of any size is a few statements out of a small, cached set.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files

Value = str | int | float | bytes | None
Row = tuple[Value, ...]

MAX_VARIABLES = 32_000
"""SQLite takes 32,766 parameters in one statement."""


@cache
def query(package: str, name: str) -> str:
    """The text of `<package>/<name>.sql`."""
    return (files(package) / f"{name}.sql").read_text(encoding="utf-8")


def load_queries(package: str) -> None:
    """Read every query of a package now: later, under load, there may be no file descriptor to spare."""
    for file in files(package).iterdir():
        if file.name.endswith(".sql"):
            query(package, file.name.removesuffix(".sql"))


@cache
def query_of(package: str, name: str, rows: int, width: int) -> str:
    """The text with `:rows` written out for that many rows."""
    row = f"({', '.join('?' * width)})"
    return query(package, name).replace(":rows", ", ".join([row] * rows))


def statements(package: str, name: str, rows: Sequence[Row]) -> Iterator[tuple[str, list[Value]]]:
    """The statements that write all `rows`, with their parameters."""
    start, width = 0, len(rows[0]) if rows else 0
    while start < len(rows):
        size = min(_power_below(len(rows) - start), _power_below(MAX_VARIABLES // width))
        chunk = rows[start : start + size]
        yield query_of(package, name, size, width), [value for row in chunk for value in row]
        start += size


def _power_below(n: int) -> int:
    return 1 << (n.bit_length() - 1)
