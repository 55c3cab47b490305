"""`{{input}}`, `{{previous_output}}`, `{topic}` and variables in a text, replaced in one pass.

What a replacement brings with it is never looked at again: a prompt that contains `{{previous_output}}` keeps it.
"""

import re
from collections.abc import Collection, Iterator, Mapping

import msgspec

from outlast.runners.builtin.crew import Value

_PLACEHOLDER = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}|\{(\w+)\}")

PROMPT_NAMES = ("input", "topic")
CHANGING = frozenset(("today", "date", "now", "timestamp", "uuid", "year", "month"))
"""Placeholders PraisonAI fills with the moment; a resumed run would ask its model something else than before."""


def fill(text: str, values: Mapping[str, Value], in_single: Collection[str]) -> str:
    """The text with every name that has a value replaced; the others stay as they are.

    A name in single braces counts only if it is in `in_single`, so that `{"json": 1}` and f-strings survive.
    """

    def replacement(match: re.Match[str]) -> str:
        double, single = match.groups()
        name = double if double is not None else single if single in in_single else None
        value = None if name is None else find(values, name)
        return match[0] if value is None else as_text(value)

    return _PLACEHOLDER.sub(replacement, text)


def names_in(text: str, in_single: Collection[str]) -> Iterator[str]:
    """The first word of every placeholder that `fill` would try to replace."""
    for double, single in _PLACEHOLDER.findall(text):
        if double or single in in_single:
            yield (double or single).partition(".")[0]


def find(values: Mapping[str, Value], name: str) -> Value | None:
    """The value of a name; dots lead into mappings."""
    first, *path = name.split(".")
    value = values.get(first)
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def as_text(value: Value) -> str:
    """A text as it is; lists and mappings as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
