"""One answer in the other form: a stream that was kept, asked for as a whole, and the other way round. Pure.

Same content, same ids. What cannot be told in the other form is None, and then the call is made again.
"""

import msgspec

from outlast.gateway.retell import chat, messages, responses
from outlast.gateway.retell.sse import Json


def as_whole(path: str, stream: bytes) -> bytes | None:
    """The answer that a complete stream told."""
    read = {"/chat/completions": chat.whole, "/responses": responses.whole, "/messages": messages.whole}
    try:
        answer = read[path](stream) if path in read else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return None if answer is None else msgspec.json.encode(answer)


def as_stream(path: str, whole: bytes, *, with_usage: bool) -> bytes | None:
    """A stream that tells this answer in few events."""
    try:
        answer = msgspec.json.decode(whole, type=Json)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    match path:
        case "/chat/completions" if answer.get("choices"):
            return chat.stream(answer, with_usage=with_usage)
        case "/responses" if "output" in answer:
            return responses.stream(answer)
        case "/messages" if "content" in answer:
            return messages.stream(answer)
        case _:
            return None
