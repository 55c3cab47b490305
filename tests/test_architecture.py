"""docs/architecture.md shows the state machine as it is, and leads nowhere that is not there."""

import re
from pathlib import Path

import pytest

from docs import diagram
from outlast.lifecycle import RULES
from outlast.runs import RunState

DOCS = Path(__file__).parents[1] / "docs"


def test_the_drawn_state_machine_is_the_one_that_decides() -> None:
    page = diagram.PAGE.read_text(encoding="utf-8")

    assert diagram.drawn(page) == page, "run `make docs`"


def test_the_diagram_has_every_state_and_every_move() -> None:
    arrows = set(re.findall(r"^    (\S+) --> (\S+): ", diagram.diagram(), re.MULTILINE))
    moves = {
        (source.value, target.value)
        for rule in RULES
        for source in rule.sources
        for target in rule.targets
        if rule.command.__name__ != "Delete"
    }

    assert arrows - {("[*]", "queued")} == moves | {(s.value, "[*]") for s in RunState if s.is_final}
    assert diagram.table().count("\n") == len(RULES) + 2


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_links_between_the_docs_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []
