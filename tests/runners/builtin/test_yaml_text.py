"""Text to tree: lines, plain words, and everything that a text is refused for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.runners.builtin.yaml_text import MAX_BYTES, Mapping, Node, Scalar, Sequence, YamlFault, read


def _plain(node: Node) -> object:
    match node:
        case Scalar():
            return None if node.is_null else node.text
        case Sequence():
            return [_plain(item) for item in node.items]
        case Mapping():
            return {key: _plain(entry.value) for key, entry in node.entries.items()}


def test_words_stay_as_they_were_written() -> None:
    text = (
        "country: no\nversion: 1.10\nday: 2024-01-02\non: yes\nocto: 0o17\nnothing: ~\nempty: ''\nhex: 0x1F"
    )

    assert _plain(read(text)) == {
        "country": "no",
        "version": "1.10",
        "day": "2024-01-02",
        "on": "yes",
        "octo": "0o17",
        "nothing": None,
        "empty": "",
        "hex": "0x1F",
    }


def test_every_node_knows_its_line() -> None:
    root = read("# first\na:\n  - b\n  - c: |\n      d\n")

    assert isinstance(root, Mapping)
    items = root.entries["a"].value
    assert isinstance(items, Sequence)
    assert [root.entries["a"].line, *(item.line for item in items.items)] == [2, 3, 4]


def test_anchors_aliases_and_merges_are_written_out() -> None:
    text = "base: &base {llm: x, role: a}\none:\n  <<: *base\n  role: b\ntwo: {<<: [*base, {extra: c}]}"

    assert _plain(read(text)) == {
        "base": {"llm": "x", "role": "a"},
        "one": {"llm": "x", "role": "b"},
        "two": {"llm": "x", "role": "a", "extra": "c"},
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "line 1: the text is empty."),
        ("# only a comment", "line 1: the text is empty."),
        ("a: 1\nb: [", "line 3: this is not YAML"),
        ("a: 1\n\tb: 2", "line 2: this is not YAML"),
        ("a: 'x", "line 1: this is not YAML"),
        ("a: 1\nb: 2\na: 3", "line 3: a is given twice, first in line 1."),
        ("a: 1\n---\nb: 2", "line 2: a second document starts here"),
        (
            "a: !!python/object/apply:os.system [x]",
            "line 1: the tag tag:yaml.org,2002:python/object/apply:os.system",
        ),
        ("a: !Env HOME", "line 1: the tag !Env"),
        ("a: 1\nb: *c", "line 2: *c does not stand for anything"),
        ("a: &a [*a]", "line 1: *a does not stand for anything complete"),
        ("? [a]\n: b", "line 1: a key has to be a word"),
        ("a: {<<: b}", "line 1: << can only merge mappings"),
        ("a: 1\nb: \x00", "line 2: the character U+0000"),
        ("a: \ud800", "line 1: the character U+D800"),
        ("[" * 100_000, "line 1: this is nested more than 32 deep"),
        ("- " * 100_000, "line 1: this is nested more than 32 deep"),
        ("{a: " * 100_000, "line 1: this is nested more than 32 deep"),
        ("a: " + "x" * MAX_BYTES, "line 1: the text is longer than 1024 KiB"),
        ("- a\n" * 50_000, "the text says too much up to here"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, fault: str) -> None:
    with pytest.raises(YamlFault) as refused:
        read(text)

    assert fault in str(refused.value)


def test_aliases_that_multiply_are_refused_before_they_do() -> None:
    lines = ["a0: &a0 [" + ", ".join(["x"] * 9) + "]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]

    with pytest.raises(YamlFault, match="the text says too much"):
        read("\n".join(lines))


_MARKS = st.sampled_from([*"{}[]:,-?&*!|>'\"%@`#<\n \t~abc=", "\n  ", ": ", "- ", "<<", "---", "&a ", "*a"])


@given(st.lists(_MARKS, max_size=60).map("".join) | st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read(text)
    except YamlFault:
        pass
