"""Draws the state machine into docs/architecture.md, out of the table that decides: `make docs`."""

import re
from pathlib import Path

from outlast.lifecycle import RULES, Rule
from outlast.runs import RunState
from outlast.transitions import Delete

PAGE = Path(__file__).with_name("architecture.md")
_DRAWN = re.compile(r"(?<=<!-- drawn by make docs -->\n).*?(?=<!-- end -->)", re.DOTALL)


def drawn(page: str) -> str:
    """The page with the diagram and the table between its marks made anew."""
    return _DRAWN.sub(lambda _: f"\n{diagram()}\n{table()}\n", page)


def diagram() -> str:
    """The states and what leads from one to another, in Mermaid's words."""
    edges: dict[tuple[str, str], list[str]] = {("[*]", RunState.QUEUED): ["submit"]}
    for rule in RULES:
        for source in _ordered(rule.sources):
            for target in ["[*]"] if rule.command is Delete else _ordered(rule.targets):
                edges.setdefault((source, target), []).append(_word(rule))
    lines = [f"    {source} --> {target}: {', '.join(words)}" for (source, target), words in edges.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```", ""])


def table() -> str:
    """Every rule, in the table's order and words."""
    rows = [f"| {_word(rule)} | {_names(rule.sources)} | {_leads_to(rule)} | {rule.says} |" for rule in RULES]
    return "\n".join(["| command | in | leads to | when |", "|---|---|---|---|", *rows, ""])


def _leads_to(rule: Rule) -> str:
    return "nothing: it is gone" if rule.command is Delete else _names(rule.targets)


def _names(states: frozenset[RunState]) -> str:
    return ", ".join(f"`{state}`" for state in _ordered(states))


def _word(rule: Rule) -> str:
    """`HandBack` as a person says it."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", rule.command.__name__).lower()


def _ordered(states: frozenset[RunState]) -> list[RunState]:
    return [state for state in RunState if state in states]


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
