"""From bytes to the typed body of a request, and the words for what is wrong with it.

The typed decoder is the fast path; only when it refuses is the body read a second time, to say why in the client's own
terms.
"""

import re
from typing import TypeVar

import msgspec

from outlast.errors import InvalidBody, did_you_mean, quoted
from outlast.runs import JsonObject

T = TypeVar("T", bound=msgspec.Struct)
_decode = msgspec.json.Decoder().decode
_HALF_PAIR = re.compile(rb"(?<!\\)(?:\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}[^\\]")
"""A high surrogate with something else behind it; msgspec looks for its other half and may run out of text."""


def read(raw: bytes, kind: type[T]) -> T:
    """The body, or `InvalidBody` that names what is wrong with it."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.ValidationError, UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        refuse_unknown(loosely(raw), kind)
        raise InvalidBody(in_our_words(str(error))) from error


def loosely(raw: bytes) -> JsonObject:
    """The JSON object that this is, whatever its fields."""
    try:
        found = _decode(raw)
    except UnicodeDecodeError as error:
        raise InvalidBody("The body is not valid UTF-8.") from error
    except RecursionError as error:
        raise InvalidBody("The body is nested too deeply.") from error
    except msgspec.DecodeError as error:
        raise InvalidBody(_why_no_json(raw, str(error))) from error
    if not isinstance(found, dict):
        raise InvalidBody('The body has to be a JSON object, such as {"prompt": "…"}.')
    return found


def _why_no_json(raw: bytes, said: str) -> str:
    if not raw.strip():
        return 'The body is empty. Send a JSON object, such as {"prompt": "…"}.'
    if "surrogate" in said or ("truncated" in said and _HALF_PAIR.search(raw)):
        return (
            "The body is not valid JSON: a text in it has half of a surrogate pair (\\ud800 to \\udfff), which is no "
            "character. Send both halves, or leave it out."
        )
    if "truncated" in said:
        return "The body is not valid JSON: it ends in the middle, as if the rest had been cut off."
    return f"The body is not valid JSON: {said.removeprefix('JSON is malformed: ')}."


def refuse_unknown(found: JsonObject, kind: type[msgspec.Struct]) -> None:
    """Name the first field that the body does not have, and the one that was meant."""
    known = kind.__struct_fields__
    unknown = next((name for name in found if name not in known), None)
    if unknown is not None:
        raise InvalidBody(f"The body has an unknown field {quoted(unknown)}. {did_you_mean(unknown, known)}")


def in_our_words(message: str) -> str:
    """`Expected `int`, got `bool` - at `$.timeout`` as a sentence about the field."""
    what, _, where = message.replace("`", "").partition(" - at $.")
    what = re.sub(r"\bstr\b", "string", what.replace(" | null", "")).replace(
        "Expected string", "Expected a string"
    )
    return f"{where}: {what[:1].lower()}{what[1:]}." if where else f"{what}."
