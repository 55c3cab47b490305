"""What a tool came to, kept as JSON and given back."""

import msgspec
import pytest
from pydantic import BaseModel
from pydantic_ai import BinaryContent, ModelRetry, ToolFailed, ToolReturn
from pydantic_ai.tools import ToolDefinition

from outlast import tool
from outlast.runners.builtin.done_tools import effect_of, given, is_step, outcome_of


class Price(BaseModel):
    euros: int


PICTURE = BinaryContent(data=b"\xff", media_type="image/png")


async def kept(value: object) -> object:
    """What a tool gives that returns (or raises) this, through JSON."""

    async def call() -> object:
        if isinstance(value, Exception):
            raise value
        return value

    return msgspec.json.decode(msgspec.json.encode(await outcome_of(call())))


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ("text", "text"),
        (None, None),
        ({"kind": "retry", "message": "mine"}, {"kind": "retry", "message": "mine"}),
        (Price(euros=5), {"euros": 5}),
        ((1, 2), [1, 2]),
        (ToolReturn(return_value="a", content=["b"]), ToolReturn(return_value="a", content=["b"])),
    ],
    ids=str,
)
async def test_a_result_is_given_back(value: object, back: object) -> None:
    assert given(await kept(value)) == back


async def test_a_picture_is_given_back() -> None:
    found = given(await kept(["see", PICTURE]))

    assert isinstance(found, list)
    assert (found[0], found[1].data, found[1].media_type) == ("see", b"\xff", "image/png")


@pytest.mark.parametrize("told", [ModelRetry("Try b."), ToolFailed("It broke.")])
async def test_what_the_model_was_told_instead_is_told_again(told: ModelRetry | ToolFailed) -> None:
    again = await kept(told)

    with pytest.raises(type(told), match=told.message):
        given(again)


async def test_what_has_no_json_form_is_a_failure_of_the_tool() -> None:
    with pytest.raises(ToolFailed, match="has no JSON form"):
        given(await kept(object()))


@pytest.mark.parametrize("answer", [{"paid": 5}, [1], "text", None, 7])
def test_a_persons_answer_is_given_as_it_is(answer: object) -> None:
    assert given(answer) == answer


@pytest.mark.parametrize(
    ("annotations", "effect"),
    [
        (None, "read"),
        ({"readOnlyHint": None, "idempotentHint": None, "destructiveHint": None}, "read"),
        ({"readOnlyHint": True, "destructiveHint": True}, "read"),
        ({"destructiveHint": True, "idempotentHint": True}, "idempotent"),
        ({"destructiveHint": True}, "once"),
    ],
)
def test_an_mcp_server_says_what_its_tool_does(annotations: dict[str, bool] | None, effect: str) -> None:
    assert effect_of(ToolDefinition(name="t", metadata={"annotations": annotations})) == effect
    assert effect_of(ToolDefinition(name="t")) == "read"


def test_a_tool_of_ours_sees_to_itself() -> None:
    def get() -> int:
        return 1

    assert is_step(tool(get))
    assert not is_step(get)
