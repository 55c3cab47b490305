"""Where a request differs from one that was kept: the first field, and what it was and is. Pure."""

from collections.abc import Sequence

import msgspec

from outlast.journal import Link
from outlast.runs import Json

SHOWN = 80
"""Characters of each side."""
_BEFORE = 20
"""Of these, so many are what both have in common."""
_ABSENT = object()


class Difference(msgspec.Struct, frozen=True):
    """The first field that is not as it was."""

    field: str
    """Such as `messages[3].content`."""
    was: str
    is_: str = msgspec.field(name="is")


def difference(was: Json, now: Json) -> Difference | None:
    """Between two canonical requests; None if there is none."""
    return _compare("", msgspec.json.decode(was), msgspec.json.decode(now))


def shared(ours: Sequence[Link], theirs: Sequence[Link]) -> int:
    """How many messages two requests begin with in common."""
    return sum(1 for one, other in zip(ours, theirs, strict=False) if one.hash == other.hash)


def _compare(field: str, was: object, now: object) -> Difference | None:
    match was, now:
        case dict(), dict():
            return _compare_objects(field, was, now)
        case list(), list():
            return _compare_lists(field, was, now)
        case _:
            return None if was == now and type(was) is type(now) else _shown(field, was, now)


def _compare_objects(field: str, was: dict[str, object], now: dict[str, object]) -> Difference | None:
    for name in sorted({*was, *now}, key=_conversation_last):
        inner = f"{field}.{name}" if field else name
        found = _compare(inner, was.get(name, _ABSENT), now.get(name, _ABSENT))
        if found is not None:
            return found
    return None


def _compare_lists(field: str, was: list[object], now: list[object]) -> Difference | None:
    for n in range(max(len(was), len(now))):
        one = was[n] if n < len(was) else _ABSENT
        other = now[n] if n < len(now) else _ABSENT
        found = _compare(f"{field}[{n}]", one, other)
        if found is not None:
            return found
    return None


def _conversation_last(name: str) -> tuple[bool, str]:
    """Another model or tool explains what follows; and it is the shorter answer."""
    return name in ("messages", "input"), name


def _shown(field: str, was: object, now: object) -> Difference:
    one, other = _words(was), _words(now)
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    start = max(0, same - _BEFORE) if same > SHOWN // 2 else 0
    return Difference(field, _cut(one, start), _cut(other, start))


def _words(value: object) -> str:
    if value is _ABSENT:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _cut(text: str, start: int) -> str:
    return f"…{text[start : start + SHOWN - 1]}" if start else text[:SHOWN]
