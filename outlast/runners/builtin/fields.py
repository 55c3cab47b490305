"""Reads one mapping of an agents.yaml key by key, holding it to its table of `keys`.

Whatever is at fault is a `YamlFault` that names the line, the thing and the way out.
"""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import TypeVar

from outlast.runners.builtin.crew import Value
from outlast.runners.builtin.keys import Keys
from outlast.runners.builtin.yaml_text import Entry, Mapping, Node, Scalar, Sequence, YamlFault

_N = TypeVar("_N", int, float)

_TRUE = frozenset(("true", "yes", "on"))
_FALSE = frozenset(("false", "no", "off"))
_KIND = {Scalar: "a word", Sequence: "a list", Mapping: "a mapping"}


class Fields:
    """One mapping. Keys without effect are added to `notes`, unknown and refused ones end it at once."""

    def __init__(self, node: Node, keys: Keys, what: str, notes: list[str]) -> None:
        self.what = what
        self.line = node.line
        self._entries = _mapping(node, what).entries
        for key, entry in self._entries.items():
            self._hold_to_table(key, entry, keys, notes)

    def has(self, *names: str) -> bool:
        """Whether one of these names has a value."""
        return self._find(names) is not None

    def given(self) -> list[str]:
        """The names that have a value, in the order of the text."""
        return [name for name, entry in self._entries.items() if _given(entry)]

    def line_of(self, *names: str) -> int:
        """The line of the first of these names that has a value, else the mapping's own."""
        found = self._find(names)
        return found.line if found else self.line

    def node(self, *names: str) -> Node | None:
        """The value of whichever alias is used."""
        found = self._find(names)
        return found.value if found else None

    def text(self, *names: str) -> str | None:
        """A text as it was written; an empty one is none."""
        node = self.node(*names)
        return None if node is None else text_of(node, f"{names[0]} of {self.what}").strip() or None

    def flag(self, name: str) -> bool:
        """True or false, false when absent."""
        node = self.node(name)
        if node is None:
            return False
        if isinstance(node, Scalar) and node.text.lower() in _TRUE | _FALSE:
            return node.text.lower() in _TRUE
        raise YamlFault(self.line_of(name), f"{name} of {self.what} has to be true or false.")

    def number(self, name: str, low: float, high: float) -> float | None:
        """A number within the bounds."""
        text = self.text(name)
        value = None if text is None else _read(float, text)
        if text is not None and (value is None or not low <= value <= high):
            raise YamlFault(
                self.line_of(name), f"{name} of {self.what} has to be a number from {low:g} to {high:g}."
            )
        return value

    def count(self, name: str, low: int, high: int) -> int | None:
        """A whole number within the bounds."""
        text = self.text(name)
        value = None if text is None else _read(int, text)
        if text is not None and (value is None or not low <= value <= high):
            raise YamlFault(
                self.line_of(name), f"{name} of {self.what} has to be a whole number from {low} to {high}."
            )
        return value

    def names(self, name: str) -> list[Scalar] | None:
        """A list of words, or one word; None when there is none, and empty words left out."""
        entry = self._entries.get(name)
        if entry is None or (isinstance(entry.value, Scalar) and entry.value.is_null):
            return None
        found = []
        for item in entry.value.items if isinstance(entry.value, Sequence) else (entry.value,):
            text_of(item, f"each of {name} of {self.what}")
            if isinstance(item, Scalar) and item.text.strip():
                found.append(item)
        return found

    def children(self, name: str) -> list[tuple[str, int, Node]]:
        """The members of a mapping: name, line, value."""
        node = self.node(name)
        if node is None:
            return []
        entries = _mapping(node, f"{name} of {self.what}").entries
        return [(key, entry.line, entry.value) for key, entry in entries.items()]

    def _find(self, names: Iterable[str]) -> Entry | None:
        found = [(name, self._entries[name]) for name in names if _given(self._entries.get(name))]
        if len(found) > 1:
            (one, _), (other, entry) = found[:2]
            raise YamlFault(entry.line, f"{self.what} has both {one} and {other}; they mean the same.")
        return found[0][1] if found else None

    def _hold_to_table(self, key: str, entry: Entry, keys: Keys, notes: list[str]) -> None:
        if key in keys.used:
            return
        if key not in keys.no_effect and key not in keys.refused:
            raise YamlFault(entry.line, f"{self.what} has an unknown key {key}.{nearest(key, keys.known)}")
        if not _given(entry) or _is_false(entry.value):
            return
        if key in keys.refused:
            raise YamlFault(
                entry.line, f"{self.what} has {key}, which does not work here: {keys.refused[key]}."
            )
        notes.append(f"line {entry.line}: {key} has no effect here: {keys.no_effect[key]}.")


def text_of(node: Node, what: str) -> str:
    """The text of a scalar."""
    if not isinstance(node, Scalar):
        raise YamlFault(node.line, f"{what} has to be a text, not {_KIND[type(node)]}.")
    return "" if node.is_null else node.text


def value_of(node: Node) -> Value:
    """A variable's value."""
    match node:
        case Scalar():
            return text_of(node, "a variable")
        case Sequence():
            return [value_of(item) for item in node.items]
        case Mapping():
            return {key: value_of(entry.value) for key, entry in node.entries.items()}


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean …?`, where something is near enough."""
    matches = get_close_matches(name, list(known), n=1)
    return f" Did you mean {matches[0]}?" if matches else ""


def _read(kind: Callable[[str], _N], text: str) -> _N | None:
    try:
        return kind(text) if len(text) < 40 else None
    except ValueError:
        return None


def _mapping(node: Node, what: str) -> Mapping:
    if not isinstance(node, Mapping):
        raise YamlFault(node.line, f"{what} has to be a mapping, not {_KIND[type(node)]}.")
    return node


def _given(entry: Entry | None) -> bool:
    if entry is None:
        return False
    match entry.value:
        case Scalar() as scalar:
            return not scalar.is_null and bool(scalar.text.strip())
        case Sequence() as sequence:
            return bool(sequence.items)
        case Mapping() as mapping:
            return bool(mapping.entries)


def _is_false(node: Node) -> bool:
    return isinstance(node, Scalar) and node.plain and node.text.lower() in _FALSE
