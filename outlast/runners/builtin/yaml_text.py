"""YAML text → a tree in which every node knows its line. Nothing is executed, nothing is guessed.

A scalar keeps the text it was written with, so `no`, `1.10` and `2024-01-02` stay words until somebody asks for
a number. Tags are refused, so no text can name a type. What a text may cost is bounded before it is spent: its
size, its depth, and how much its aliases stand for.
"""

import re

import msgspec
import yaml

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_EXPANDED = 4 * 1024 * 1024
"""Characters that a text may stand for once its aliases are written out."""
NODE_COST = 200
"""What a node costs beside its characters: so about 20,000 are the most, which take a fraction of a second to read."""

_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # what YAML allows, nothing else
)


class YamlFault(Exception):
    """The text is at fault, at this line."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(f"line {line}: {sentence}")


class Scalar(msgspec.Struct, frozen=True):
    """A piece of text as it was written."""

    text: str
    plain: bool
    """Written without quotes: may be read as null, a number or a flag."""
    line: int
    weight: int

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")


class Sequence(msgspec.Struct, frozen=True):
    """A list."""

    items: tuple["Node", ...]
    line: int
    weight: int


class Entry(msgspec.Struct, frozen=True):
    """A key's line, and its value."""

    line: int
    value: "Node"


class Mapping(msgspec.Struct, frozen=True):
    """Keys, as written, and their values in the order of the text."""

    entries: dict[str, Entry]
    line: int
    weight: int


Node = Scalar | Sequence | Mapping


def read(text: str) -> Node:
    """The tree of one document; a `YamlFault` for everything else, whatever the text is."""
    _check(text)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise YamlFault(_line(error), f"this is not YAML: {error.problem or error.context}.") from error
    except yaml.YAMLError as error:
        raise YamlFault(1, f"this is not YAML: {error}.") from error
    if builder.root is None:
        raise YamlFault(1, "the text is empty.")
    return builder.root


def _check(text: str) -> None:
    found = _UNPRINTABLE.search(text.removeprefix("\ufeff"))
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise YamlFault(line, f"the character U+{ord(found[0]):04X} is not allowed in YAML.")
    if len(text.encode()) > MAX_BYTES:
        raise YamlFault(1, f"the text is longer than {MAX_BYTES // 1024} KiB.")


def _line(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


class _Open:
    """A list or mapping that has not ended yet."""

    def __init__(self, event: yaml.CollectionStartEvent, line: int) -> None:
        self.is_mapping = isinstance(event, yaml.MappingStartEvent)
        self.anchor: str | None = event.anchor
        self.line = line
        self.weight = NODE_COST
        self.items: list[Node] = []
        self.entries: dict[str, Entry] = {}
        self.merged: dict[str, Entry] = {}
        self.key: Scalar | None = None

    def add(self, node: Node) -> None:
        self.weight += node.weight
        if self.weight > MAX_EXPANDED:
            raise _too_large(node.line)
        if not self.is_mapping:
            self.items.append(node)
        elif self.key is None:
            self.key = self._checked_key(node)
        else:
            self._set(self.key, node)
            self.key = None

    def close(self) -> Node:
        if self.is_mapping:
            return Mapping({**self.merged, **self.entries}, self.line, self.weight)
        return Sequence(tuple(self.items), self.line, self.weight)

    def _checked_key(self, node: Node) -> Scalar:
        if not isinstance(node, Scalar) or node.is_null:
            raise YamlFault(node.line, "a key has to be a word.")
        before = self.entries.get(node.text)
        if before:
            raise YamlFault(node.line, f"{node.text} is given twice, first in line {before.line}.")
        return node

    def _set(self, key: Scalar, value: Node) -> None:
        if not (key.plain and key.text == "<<"):
            self.entries[key.text] = Entry(key.line, value)
            return
        for source in value.items if isinstance(value, Sequence) else (value,):
            if not isinstance(source, Mapping):
                raise YamlFault(key.line, "<< can only merge mappings.")
            self.merged = {**source.entries, **self.merged}


class _Builder:
    """Puts a tree together from the parser's events, without recursion."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._spent = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        match event:
            case yaml.ScalarEvent():
                self._refuse_tag(event.tag, line)
                weight = self._spend(len(event.value), line)
                self._put(Scalar(event.value, not event.style, line, weight), event.anchor)
            case yaml.CollectionStartEvent():
                self._refuse_tag(event.tag, line)
                self._spend(0, line)
                if len(self._open) >= MAX_DEPTH:
                    raise YamlFault(line, f"this is nested more than {MAX_DEPTH} deep.")
                self._open.append(_Open(event, line))
            case yaml.CollectionEndEvent():
                ended = self._open.pop()
                self._put(ended.close(), ended.anchor)
            case yaml.AliasEvent():
                self._put(self._aliased(str(event.anchor), line), None)
            case yaml.DocumentStartEvent() if self.root is not None:
                raise YamlFault(line, "a second document starts here; one text is one document.")
            case _:
                pass

    def _spend(self, characters: int, line: int) -> int:
        weight = NODE_COST + characters
        self._spent += weight
        if self._spent > MAX_EXPANDED:
            raise _too_large(line)
        return weight

    def _put(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if self._open:
            self._open[-1].add(node)
        else:
            self.root = node

    def _aliased(self, anchor: str, line: int) -> Node:
        node = self._anchors.get(anchor)
        if node is None or any(parent.anchor == anchor for parent in self._open):
            raise YamlFault(line, f"*{anchor} does not stand for anything complete.")
        return node

    def _refuse_tag(self, tag: str | None, line: int) -> None:
        if tag is not None:
            raise YamlFault(line, f"the tag {tag} is not allowed; write plain values.")


def _too_large(line: int) -> YamlFault:
    return YamlFault(line, "the text says too much up to here, what its aliases repeat included.")
