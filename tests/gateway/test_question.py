"""What a call asks does not depend on how it is written down, and depends on everything else."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlast.chains import put_together, taken_apart
from outlast.gateway.divergence import difference
from outlast.gateway.normal import normalised
from outlast.gateway.question import IGNORED, Body, Question, Unreadable, canonical
from outlast.runs import Json

CHAT, RESPONSES, MESSAGES = "/chat/completions", "/responses", "/messages"
LISTS = {CHAT: "messages", RESPONSES: "input", MESSAGES: "messages"}

FEW = settings(max_examples=40, deadline=None)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=4)
paths = st.sampled_from([CHAT, RESPONSES, MESSAGES, "/embeddings"])


def question(path: str, body: object) -> Question:
    return Body(path, msgspec.json.encode(body)).question()


def shuffled(value: object, seed: int) -> object:
    """The same value with the keys of its objects in another order."""
    match value:
        case dict():
            names = list(value)
            random.Random(seed).shuffle(names)
            return {name: shuffled(value[name], seed) for name in names}
        case list():
            return [shuffled(item, seed) for item in value]
        case _:
            return value


@FEW
@given(paths, objects, st.lists(objects, max_size=3), st.integers())
def test_the_order_of_keys_and_the_spaces_do_not_matter(
    path: str, body: dict[str, object], messages: list[object], seed: int
) -> None:
    whole = {**body, LISTS.get(path, "input"): messages}
    spaced = msgspec.json.format(msgspec.json.encode(shuffled(whole, seed)), indent=3)

    assert Body(path, spaced).question().hash == question(path, whole).hash


@FEW
@given(paths, objects, st.dictionaries(st.sampled_from(sorted(IGNORED)), values))
def test_fields_that_do_not_ask_do_not_matter(
    path: str, body: dict[str, object], ignored: dict[str, object]
) -> None:
    assert question(path, {**body, **ignored}).hash == question(path, body).hash


@FEW
@given(paths, paths, objects, objects)
def test_everything_else_matters(
    path: str, other: str, one: dict[str, object], two: dict[str, object]
) -> None:
    asked = [
        {name: value for name, value in body.items() if name not in IGNORED}
        for body in ({**one, "messages": [two]}, {**two, "messages": [one]})
    ]
    is_same = path == other and canonical(asked[0]) == canonical(asked[1])

    assert (question(path, asked[0]).hash == question(other, asked[1]).hash) is is_same


@FEW
@given(paths, objects, st.lists(objects, max_size=3))
def test_the_chain_of_messages_puts_the_request_together_again(
    path: str, body: dict[str, object], messages: list[object]
) -> None:
    whole = {**body, LISTS.get(path, "input"): messages}

    asked = question(path, whole)

    kept = {name: value for name, value in whole.items() if name not in IGNORED}
    assert put_together(path, asked.head, (link.content for link in asked.links)) == canonical(kept)


@FEW
@given(paths, objects, st.lists(objects, max_size=3))
def test_a_question_is_taken_apart_as_the_journal_does_it(
    path: str, body: dict[str, object], messages: list[object]
) -> None:
    whole = {**body, LISTS.get(path, "messages"): messages}
    kept = {name: value for name, value in whole.items() if name not in IGNORED}

    asked = question(path, whole)

    assert (asked.asked, asked.links) == taken_apart(path, canonical(kept))


def test_a_question_is_known_by_as_many_bytes_as_all_that_the_journal_knows() -> None:
    asked = question(CHAT, {"messages": [{"role": "user", "content": "Hi"}]})

    assert len(asked.hash) == len(asked.links[0].hash) == 16


@pytest.mark.parametrize(
    ("one", "other"), [(b"1", b"1.0"), (b"1", b"true"), (b"9007199254740993", b"9007199254740992")]
)
def test_numbers_are_what_the_text_says(one: bytes, other: bytes) -> None:
    first, second = (Body(CHAT, b'{"seed": %b}' % number).question() for number in (one, other))

    assert first.hash != second.hash


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e400}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": "\xff"}',
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"messages": [' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"]}",
    ],
)
def test_what_cannot_be_read_in_one_way_is_not_read(body: bytes) -> None:
    with pytest.raises(Unreadable):
        Body(CHAT, body).question()


def _chat(content: object, call_id: str = "call_1", arguments: str = "{}") -> dict[str, object]:
    call = {"id": call_id, "type": "function", "function": {"name": "now", "arguments": arguments}}
    return {
        "model": "m",
        "messages": [
            {"role": "user", "content": "When?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": content},
        ],
    }


def _responses(content: object) -> dict[str, object]:
    call = {"type": "function_call", "call_id": "call_1", "name": "now", "arguments": "{}"}
    return {"input": [call, {"type": "function_call_output", "call_id": "call_1", "output": content}]}


def _messages(content: object, **more: object) -> dict[str, object]:
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content, **more}
    call = {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}
    hint = {"type": "text", "text": "There."}
    return {
        "messages": [{"role": "assistant", "content": [call]}, {"role": "user", "content": [hint, result]}]
    }


BODIES = {CHAT: _chat, RESPONSES: _responses, MESSAGES: _messages}
contents = texts | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": texts}), max_size=2)


@FEW
@given(st.sampled_from([CHAT, RESPONSES, MESSAGES]), contents, contents)
def test_a_result_that_is_replaced_makes_the_request_that_it_was_first_sent_in(
    path: str, first: object, second: object
) -> None:
    before = Body(path, msgspec.json.encode(BODIES[path](first)))
    after = Body(path, msgspec.json.encode(BODIES[path](second)))

    after.replace({after.results[0]: before.results[0].content})

    assert [result.id for result in after.results] == [result.id for result in before.results]
    assert after.question() == before.question()
    assert Body(path, after.bytes).question() == before.question()


def test_a_result_that_was_an_error_is_one_again() -> None:
    before = Body(MESSAGES, msgspec.json.encode(_messages("no clock", is_error=True)))
    after = Body(MESSAGES, msgspec.json.encode(_messages("12:00")))

    after.replace({after.results[0]: before.results[0].content})

    assert after.question() == before.question()


def test_a_body_in_which_nothing_is_replaced_goes_out_as_it_came() -> None:
    body = b'{ "messages": [ {"role":"tool", "tool_call_id": "c", "content": "x"} ], "seed": 1e2 }'

    assert Body(CHAT, body).bytes is body


def _result_ids(*bodies: dict[str, object]) -> list[str]:
    return [result.id for body in bodies for result in Body(CHAT, msgspec.json.encode(body)).results]


def test_tool_calls_that_share_an_id_are_told_apart_by_what_they_ask() -> None:
    paris, london = _result_ids(
        _chat("sun", arguments='{"in": "Paris"}'), _chat("rain", arguments='{"in": "London"}')
    )

    assert paris != london


@pytest.mark.parametrize("call_id", ["", "\0", "x" * 10_000, "ü", "call 1"])
def test_any_id_makes_a_name_that_can_be_kept(call_id: str) -> None:
    (name,) = _result_ids(_chat("x", call_id))

    assert name.isascii()
    assert name.isprintable()
    assert len(name) < 100


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "tool_call_id": 7, "content": "x"},
        {"role": "tool", "tool_call_id": None},
        {"role": "assistant", "tool_calls": "none"},
        {"tool_calls": [None]},
    ],
)
def test_what_does_not_look_like_a_result_is_passed_over(message: object) -> None:
    assert Body(CHAT, msgspec.json.encode({"messages": [message]})).results == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It is 2026-11-22T08:12:09.123Z.", "It is 2026-11-23T19:00:00.001Z."),
        ("at 9:12 AM,", "at 11:40 PM,"),
        ("first\n09:12:33 start", "first\n10:00:01 start"),
        ("Sunday, November 22, 2026", "Mon, Nov 3, 2026"),
        ("22 Nov 2026", "1 January 2027"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id 00000000-0000-4000-8000-00000000000a"),
        ("wrote /tmp/tmpab12/out.txt", "wrote /tmp/tmpzz99/out.txt"),
    ],
)
def test_a_normalised_question_does_not_know_when_and_where_it_was_asked(one: str, other: str) -> None:
    assert normalised(canonical({"content": one})) == normalised(canonical({"content": other}))


@pytest.mark.parametrize(("one", "other"), [("3 of 4", "3 of 5"), ("v1.2.3", "v1.2.4"), ("/etc/a", "/etc/b")])
def test_a_normalised_question_knows_everything_else(one: str, other: str) -> None:
    assert normalised(canonical({"content": one})) != normalised(canonical({"content": other}))


def _difference(was: object, now: object) -> tuple[str, str, str] | None:
    found = difference(canonical(was), canonical(now))
    return None if found is None else (found.field, found.was, found.is_)


def test_the_first_field_that_differs_is_named() -> None:
    before: Json = canonical(_chat("09:12"))

    assert difference(before, before) is None
    assert _difference(_chat("09:12"), _chat("09:14")) == ("messages[2].content", "09:12", "09:14")
    assert _difference({"model": "a", "messages": []}, {"messages": [1]}) == ("model", "a", "")
    assert _difference({"messages": []}, {"messages": [{"a": 1}]}) == ("messages[0]", "", '{"a":1}')
    assert _difference({"n": 1}, {"n": 1.0}) == ("n", "1", "1.0")


def test_what_differs_late_in_a_long_text_is_shown_where_it_differs() -> None:
    found = difference(
        canonical({"a": "x" * 500 + "early" + "z" * 500}), canonical({"a": "x" * 500 + "late"})
    )

    assert found is not None
    assert found.was == "…" + "x" * 20 + "early" + "z" * 54
    assert found.is_ == "…" + "x" * 20 + "late"
