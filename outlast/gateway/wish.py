"""What the gateway has to know of a request's body, and the two things it may change in it."""

import msgspec


class _Options(msgspec.Struct):
    include_usage: bool | None = None


class Wish(msgspec.Struct, frozen=True):
    """The fields of a request that matter on the way; everything else is between agent and provider."""

    model: str | None = None
    stream: bool | None = None
    stream_options: _Options | None = None

    @property
    def hides_usage(self) -> bool:
        """A stream of a chat completion that would end without saying what it cost."""
        return bool(self.stream) and not (self.stream_options and self.stream_options.include_usage)


_decode = msgspec.json.Decoder(Wish).decode


def read(body: bytes) -> Wish:
    """An unreadable body is no business of the gateway's: the provider says what is wrong with it."""
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return Wish()


def with_model(body: bytes, model: str) -> bytes:
    """The body, asking another model."""
    return _with(body, "model", model)


def with_usage(body: bytes) -> bytes:
    """The body, also asking for the usage chunk at the end of the stream."""
    given = _fields(body).get("stream_options")
    options = _fields(given) if given is not None and given != b"null" else {}
    return _with(body, "stream_options", {**options, "include_usage": True})


def _with(body: bytes, name: str, value: object) -> bytes:
    return msgspec.json.encode({**_fields(body), name: value})


def _fields(body: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
