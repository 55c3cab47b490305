"""From the bytes of a submit to a `NewRun`: everything a client can get wrong is found here, before anything is kept.

The typed decoder is the fast path; only when it refuses is the body read a second time, to say what is wrong with it
in the client's own terms.
"""

import re

import msgspec

from outlast.api import reading
from outlast.api.schemas import RetryBody, SubmitBody, nano_usd
from outlast.births import Idempotency, NewRun, body_hash
from outlast.config import Settings
from outlast.errors import (
    FrameworkNotInstalled,
    InvalidBody,
    NoModelConfigured,
    PromptMissing,
    did_you_mean,
    quoted,
)
from outlast.runners.protocol import Prepared, Submission
from outlast.runs import DEFAULT_QUEUE, Budget, JsonObject, Retry

MAX_DEPTH = 64
"""Levels of nesting in `config` and `metadata`: they are read again where less of the stack is left."""

MAX_METADATA = 16 * 1024
"""Bytes of `metadata` as JSON: it is part of a run's head, of which the server keeps many in memory and lists show."""

_decode = msgspec.json.Decoder(SubmitBody).decode
_decode_anything = msgspec.json.Decoder().decode
_QUEUE = re.compile(r"[a-z0-9_-]{1,64}")
_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class Order(msgspec.Struct, frozen=True):
    """A submit that is well-formed; whether it can run here is not yet known."""

    body: SubmitBody
    timeout_s: int
    idempotency: Idempotency | None


def parse(raw: bytes, key: str | None, settings: Settings) -> Order:
    """Read a submit; `PromptMissing` or `InvalidBody` say what is wrong with it.

    `key` is the idempotency key that came outside of the body; it wins over the body's.
    """
    body = _read(raw)
    if not body.prompt or body.prompt.isspace():
        raise _prompt_missing("it is blank")
    _check(body)
    timeout_s = settings.default_timeout_s if body.timeout is None else body.timeout
    if timeout_s > settings.max_timeout_s:
        raise InvalidBody(
            f"timeout is {timeout_s} s; the most this server allows is {settings.max_timeout_s} s."
        )
    return Order(body, timeout_s, _idempotency(body, key, raw))


def submission(body: SubmitBody) -> Submission:
    """What the registry needs to know of a submit."""
    if body.recipe_name is not None:
        raise FrameworkNotInstalled(
            f"Recipe {quoted(body.recipe_name)} needs the praisonai runner, which is not installed here; "
            "`outlast runner add praisonai` will install it in a later "
            "release; send a prompt, an agents.yaml or an agent's name instead."
        )
    return Submission(
        prompt=body.prompt,
        framework=body.framework,
        agent=body.agent,
        agent_file=body.agent_file,
        agent_yaml=body.agent_yaml,
        config=body.config,
        session_id=body.session_id,
        metadata=body.metadata,
    )


def new_run(order: Order, prepared: Prepared) -> NewRun:
    """The run as the engine takes it."""
    body = order.body
    return NewRun(
        request=prepared.request,
        kind=prepared.kind,
        timeout_s=order.timeout_s,
        priority_s=body.priority or 0,
        run_at=None if body.run_at is None else round(body.run_at.timestamp() * 1000),
        delay_ms=round((body.delay or 0) * 1000),
        queue=body.queue or DEFAULT_QUEUE,
        webhook_url=body.webhook_url,
        retry=_NO_RETRY if body.retry is None else _retry(body.retry),
        budget=Budget(nano_usd(body.max_cost_usd), body.max_tokens),
        idempotency=order.idempotency,
    )


def no_model(runner: str) -> NoModelConfigured:
    """The three lines to paste."""
    return NoModelConfigured(
        f"Runner {runner} needs a model and none is configured. Start the server with one of:\n"
        "  OPENAI_API_KEY=sk-... outlast serve\n"
        "  OPENAI_BASE_URL=http://127.0.0.1:11434/v1 OUTLAST_MODEL=llama3.2 outlast serve\n"
        "  pip install 'outlast[local]' && outlast model pull demo && outlast serve"
    )


_NO_RETRY = Retry()


def _retry(asked: RetryBody) -> Retry:
    return Retry(asked.max_attempts, asked.backoff_s, asked.journal)


def _read(raw: bytes) -> SubmitBody:
    try:
        return _decode(raw)
    except (msgspec.ValidationError, UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise _explain(raw, error) from error


def _explain(raw: bytes, error: Exception) -> PromptMissing | InvalidBody:
    found = reading.loosely(raw)
    unknown = next((name for name in found if name not in _FIELDS), None)
    if not isinstance(found.get("prompt"), str):
        return _prompt_missing(_what_is_there(found, unknown))
    reading.refuse_unknown(found, SubmitBody)
    return InvalidBody(_in_our_words(str(error)))


_FIELDS = SubmitBody.__struct_fields__


def _what_is_there(found: JsonObject, unknown: str | None) -> str:
    if "prompt" in found:
        return "it is null" if found["prompt"] is None else "it is not a string"
    if unknown is not None:
        return f"the body has no prompt but an unknown field {quoted(unknown)}"
    return "the body has none"


def _prompt_missing(why: str) -> PromptMissing:
    return PromptMissing(f"A prompt is needed, a string with something in it: {why}.")


def _in_our_words(message: str) -> str:
    unknown = re.fullmatch(r"Object contains unknown field `(.+)` - at `\$\.retry`", message)
    if unknown is None:
        return reading.in_our_words(message)
    return f"retry has an unknown field {quoted(unknown[1])}. {did_you_mean(unknown[1], RetryBody.__struct_fields__)}"


def _check(body: SubmitBody) -> None:
    for name, text in (("session_id", body.session_id), ("idempotency_key", body.idempotency_key)):
        if text is not None and "\0" in text:
            raise InvalidBody(f"{name} has a NUL character in it; leave it out.")
    for name, value in (
        ("config", body.config),
        ("metadata", body.metadata),
        ("recipe_config", body.recipe_config),
    ):
        if value:
            _check_depth(name, value)
    if body.metadata and len(msgspec.json.encode(body.metadata)) > MAX_METADATA:
        raise InvalidBody(
            f"metadata is larger than {MAX_METADATA} bytes; keep it elsewhere and send its address."
        )
    if body.run_at is not None and body.delay is not None:
        raise InvalidBody("run_at and delay exclude each other; send the one you mean.")
    if body.queue is not None and not _QUEUE.fullmatch(body.queue):
        raise InvalidBody("queue is a name of 1 to 64 characters out of a-z, 0-9, _ and -.")
    if body.recipe_config is not None and body.recipe_name is None:
        raise InvalidBody("recipe_config means nothing without recipe_name.")


def _check_depth(name: str, value: JsonObject) -> None:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [item for node in level for item in _items(node)]
        if not level:
            return
    raise InvalidBody(f"{name} is nested deeper than {MAX_DEPTH} levels.")


def _items(node: object) -> list[object]:
    match node:
        case dict():
            return list(node.values())
        case list():
            return node
        case _:
            return []


def header_key(key: str | None, fields: JsonObject) -> Idempotency | None:
    """The idempotency key of a request that has no other: for these fields, of the whole tenant."""
    if key is None:
        return None
    _check_key(key)
    return Idempotency(key, "", body_hash(fields))


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise InvalidBody("An idempotency key is 1 to 255 printable ASCII characters.")


def _idempotency(body: SubmitBody, key: str | None, raw: bytes) -> Idempotency | None:
    scope = body.idempotency_scope or "global"
    if scope == "session" and body.session_id is None:
        raise InvalidBody(
            "idempotency_scope is session, but there is no session_id; send one, or use global."
        )
    if key is None:
        key = None if scope == "none" else body.idempotency_key
    if key is None:
        return None
    _check_key(key)
    session = body.session_id if scope == "session" and body.session_id is not None else ""
    return Idempotency(key, session, body_hash(_decode_anything(raw)))
