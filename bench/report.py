"""What was measured, as tables: medians, medians of pairwise ratios, and whether the targets are met."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bound:
    """A target: on our own figure, or on its ratio to another server's figure of the same round."""

    against: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )

    @property
    def words(self) -> str:
        limit = f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"
        return f"{limit}{'×' if self.against else ''}"


@dataclass(frozen=True)
class Row:
    """One figure of every server, round by round; ours is the first."""

    what: str
    values: Mapping[str, Sequence[float]]
    bounds: Sequence[Bound] = ()
    digits: int = 0
    per_cpu: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """The same for each CPU second of the server's process tree."""

    @property
    def ours(self) -> str:
        return next(iter(self.values))


def ratio(row: Row, other: str) -> float:
    """The median of ours / theirs, each pair measured in the same round."""
    pairs = zip(row.values[row.ours], row.values[other], strict=True)
    return statistics.median(ours / theirs for ours, theirs in pairs)


def tables(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Both tables in Markdown. A server without a column of its own is named beside the ratio to it."""
    per_cpu = [Row(row.what, row.per_cpu) for row in rows if row.per_cpu]
    words = "Per CPU second of the server's process tree:"
    return f"{_table(rows, columns)}\n\n{words}\n\n{_table(per_cpu, columns)}\n"


def _table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    lines = [["", *columns, "ratios", "target"], ["---", *["---:" for _ in columns], "---", "---"]]
    lines += [_line(row, columns) for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _line(row: Row, columns: Sequence[str]) -> list[str]:
    others = [name for name in row.values if name != row.ours]
    ratios = ", ".join(f"{ratio(row, name):.2f}× {_whose(row, name, columns)}" for name in others)
    return [row.what, *(_cell(row, name) for name in columns), ratios, verdicts(row)]


def _whose(row: Row, name: str, columns: Sequence[str]) -> str:
    return name if name in columns else f"{name} ({_cell(row, name)})"


def _cell(row: Row, name: str) -> str:
    values = row.values.get(name)
    return f"{statistics.median(values):,.{row.digits}f}" if values else ""


def verdicts(row: Row) -> str:
    """The row's targets, each met or not."""
    return "; ".join(_verdict(row, bound) for bound in row.bounds)


def _verdict(row: Row, bound: Bound) -> str:
    value = ratio(row, bound.against) if bound.against else statistics.median(row.values[row.ours])
    words = f"{bound.words} {bound.against or ''}".rstrip()
    return f"{words}: met" if bound.is_met(value) else f"{words}: **not met** ({value:.2f})"


def progress(rows: Sequence[Row], say: Callable[[str], None] = print) -> None:
    """One line for each row as soon as it is there."""
    for row in rows:
        figures = ", ".join(f"{name} {_cell(row, name)}" for name in row.values)
        say(f"  {row.what}: {figures}   {verdicts(row)}")
