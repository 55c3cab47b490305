"""What docs/guides/webhooks.md shows is what happens."""

import re
from pathlib import Path

import msgspec
import pytest

from outlast.clock import SystemClock
from outlast.config import Settings
from outlast.engine import Engine
from outlast.runs import Draft, EventKind, Usage
from outlast.webhooks.address import GuardedTransport, check_url
from outlast.webhooks.attempt import Message, Verdict, body_of, send
from outlast.webhooks.sign import key_of
from tests.runs_factory import new_run, running
from tests.webhooks.receiver import Got, receiver

GUIDE = (Path(__file__).parents[2] / "docs/guides/webhooks.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


def run_block(number: int, name: str) -> object:
    """What a Python example defines under that name."""
    names: dict[str, object] = {}
    exec(blocks("python")[number], names)
    return names[name]


async def notice(engine: Engine) -> Message:
    """The first try of a notice that has every field there is."""
    new = new_run(webhook_url="https://example.com/callback", session_id="project-alpha")
    request = msgspec.structs.replace(new.request, metadata={"ticket": 7})
    run, attempt_id = await running(engine, msgspec.structs.replace(new, request=request))
    usage = Usage(model_calls=3, input_tokens=1210, output_tokens=245, cost_nano_usd=328_500)
    await engine.record_call(run.id, attempt_id, usage, Draft(EventKind.MODEL_CALL, b"{}"))
    await engine.succeed(run, attempt_id, b'"Task output here"')
    (delivery,) = await engine.outbox.take(1)
    return Message(delivery.notice, 1, body_of(delivery.notice.head, b'"Task output here"'))


async def sent(engine: Engine, secret: str) -> Got:
    """That notice as a receiver gets it now, signed."""
    message = await notice(engine)
    transport = GuardedTransport(["127.0.0.1"], connections=1)
    async with receiver() as here:
        to_here = msgspec.structs.replace(message.notice, url=here.url)
        message = msgspec.structs.replace(message, notice=to_here)
        outcome = await send(transport, message, key_of(secret), SystemClock(), 5)
        await transport.aclose()
    assert outcome.verdict is Verdict.DELIVERED
    return here.requests[0]


async def test_the_payload_has_the_fields_of_the_guide(engine: Engine) -> None:
    message = await notice(engine)
    (shown,) = (msgspec.json.decode(block) for block in blocks("json"))
    real = msgspec.json.decode(message.body)

    assert list(shown) == list(real)
    assert [shown[name] for name in ("result", "metadata", "usage")] == [
        real[name] for name in ("result", "metadata", "usage")
    ]


async def test_both_examples_accept_what_the_server_sends(engine: Engine) -> None:
    secret = run_block(2, "secret")
    assert isinstance(secret, str)
    got = await sent(engine, secret)

    read, is_genuine = run_block(0, "read"), run_block(1, "is_genuine")

    assert callable(read)
    assert callable(is_genuine)
    assert read(secret, got.headers, got.body)["job_id"] == got.headers["webhook-id"].removeprefix("msg_")
    assert is_genuine(secret, got.headers, got.body)
    assert not is_genuine(secret, got.headers, got.body + b" ")


def test_the_schedule_of_the_guide_is_the_default() -> None:
    assert Settings().webhook_retry == (1, 5, 15, 60, 300)
    assert "Tries are 1, 5, 15, 60 and 300 seconds apart" in GUIDE


@pytest.mark.parametrize("entry", re.findall(r"^\| `([^` ]+)` \| (?:that|every)", GUIDE, re.MULTILINE))
def test_every_entry_of_the_guide_can_be_set(entry: str) -> None:
    check_url("https://example.com/callback", Settings(webhook_allow=(entry,)))


async def test_the_guide_lists_the_headers_that_are_sent(engine: Engine) -> None:
    got = await sent(engine, "secret")

    listed = re.findall(r"^\| `([a-z-]+)` \|", GUIDE, re.MULTILINE)

    assert set(listed) == set(got.headers) - {"host", "content-length"}
