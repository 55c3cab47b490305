"""The pages of docs/operations, and the blocks of code on them."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "operations"


def blocks(page: str, kind: str, heading: str | None = None) -> list[str]:
    """The blocks of a kind (`sh`, `sql` …) on a page, or below one heading of it."""
    text = (FOLDER / page).read_text(encoding="utf-8")
    if heading is not None:
        text = re.split(rf"^## {re.escape(heading)}$", text, flags=re.M)[1].split("\n## ")[0]
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.M | re.S)
