"""What the gateway adds to a model call: the same calls of the same agents through it and past it, in turns."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import msgspec

from bench import ours, provider
from bench.caller import Order, Said
from bench.load import LoadError, percentile, post
from bench.report import Bound, Row
from bench.runs import Watcher, accepted
from bench.server import Server
from bench.turns import Scale, servers

_AGENTS = 10
_CALLS_AT_ONCE = 100
_STREAMS_AT_ONCE = 500
_TAKES_MS = 500
_DIRECT = "past the gateway"


def measure(scale: Scale, folder: Path) -> list[Row]:
    """Calls and first pieces at 100 calls at one time, then 500 streams of 10 pieces a second."""
    with ExitStack() as stack:
        (upstream,) = stack.enter_context(servers([provider.recipe()], folder))
        url = f"http://127.0.0.1:{upstream.port}/v1"
        recipe = ours.isolated(ours.NAME, "caller", _AGENTS)
        env = {**recipe.env, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-bench"}
        (server,) = stack.enter_context(servers([replace(recipe, env=env)], folder))
        each = _CALLS_AT_ONCE // _AGENTS
        whole = Order(
            None, f"after-{_TAKES_MS}", stream=False, callers=each, each=4, apart_s=_TAKES_MS / 1000
        )
        first = msgspec.structs.replace(whole, stream=True)
        some = Order(None, "pieces-30", stream=True, callers=_STREAMS_AT_ONCE // _AGENTS, each=1, apart_s=1.0)
        calls, firsts, streams = (
            _in_turns(server, scale.rounds, url, order) for order in (whole, first, some)
        )
    return [
        _added(f"model call at {_CALLS_AT_ONCE} at one time", [(a.waits, b.waits) for a, b in calls]),
        _added(
            f"first piece of a stream at {_CALLS_AT_ONCE} at one time",
            [(a.waits, b.waits) for a, b in firsts],
        ),
        _late(50, streams),
        _late(99, streams),
    ]


def _in_turns(server: Server, rounds: int, url: str, order: Order) -> list[tuple[Said, Said]]:
    """What the agents say of so many turns through the gateway and past it."""
    past = msgspec.structs.replace(order, direct=url)
    _turn(server, order)
    return [(_turn(server, order), _turn(server, past)) for _ in range(rounds)]


def _turn(server: Server, order: Order) -> Said:
    body = msgspec.json.encode({"prompt": msgspec.json.encode(order).decode(), "agent": "caller"})
    with Watcher(server) as watcher:
        run_ids = [accepted(watcher.ask(post("/api/v1/runs", body), b"202")) for _ in range(_AGENTS)]
        for run_id in run_ids:
            watcher.until(run_id, "succeeded")
        said = [msgspec.json.decode(watcher.result(run_id), type=Said) for run_id in run_ids]
    together = Said([ns for one in said for ns in one.waits], [ns for one in said for ns in one.late])
    if len(together.waits) != _AGENTS * order.callers * order.each:
        raise LoadError(
            f"Of {_AGENTS * order.callers * order.each} calls {len(together.waits)} were answered."
        )
    return together


def _added(what: str, turns: list[tuple[list[int], list[int]]]) -> Row:
    added = [(percentile(ours_, 50) - percentile(direct, 50)) / 1e6 for ours_, direct in turns]
    return Row(
        f"{what}, what the gateway adds to its p50, ms", {ours.NAME: added}, [Bound(at_most=2)], digits=1
    )


def _late(percent: float, turns: list[tuple[Said, Said]]) -> Row:
    values = {
        ours.NAME: [percentile(a.late, percent) / 1e6 for a, _ in turns],
        _DIRECT: [percentile(b.late, percent) / 1e6 for _, b in turns],
    }
    what = (
        f"piece of {_STREAMS_AT_ONCE} streams with 10 pieces a second each, sent to arrived, p{percent:g}, ms"
    )
    return Row(what, values, digits=1)
