"""The table of keys in docs/guides/agents-yaml.md, made from the tables the runner holds a text to.

python -m tests.runners.builtin.guide
"""

from pathlib import Path

from outlast.runners.builtin import keys

GUIDE = Path(__file__).parents[3] / "docs/guides/agents-yaml.md"
HEADING = "## Every key\n"


def tables() -> str:
    """What stands below the heading, in Markdown."""
    return "\n".join(_table(where, table) for where, table in keys.ALL.items())


def _table(where: str, table: keys.Keys) -> str:
    lines = [f"### In {where}\n", f"Used: {', '.join(f'`{key}`' for key in sorted(table.used))}.\n"]
    if table.no_effect or table.refused:
        lines += ["| key | here |", "|---|---|"]
    lines += [f"| `{key}` | no effect: {why} |" for key, why in sorted(table.no_effect.items())]
    lines += [f"| `{key}` | refused: {why} |" for key, why in sorted(table.refused.items())]
    return "\n".join(lines) + "\n"


def _write() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    head, heading, rest = text.partition(HEADING)
    first_paragraph = rest.strip().split("\n\n")[0]
    GUIDE.write_text(f"{head}{heading}\n{first_paragraph}\n\n{tables()}", encoding="utf-8")


if __name__ == "__main__":
    _write()
