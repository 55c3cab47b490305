"""The judge: reads a history and names every promise that was broken. It knows nothing of how a store works.

A promise is a function from the story to sentences, each of which is one way in which it was broken.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import pairwise

from tests.chaos.history import Call, Record, Seen
from tests.chaos.story import RUNS, Story

FINAL = frozenset({"succeeded", "failed", "cancelled"})
LOSSES = 3
"""A run is given up when its own process has died so often."""
FOR_THE_MOMENT = {"store_unavailable", "draining"}
"""Why a run of a batch may be refused."""
START_S = 60.0
"""A process that ends younger than this may not have come up, because the database was away: whoever runs it starts it
again. Long, because on a slow machine it may be stopped in the middle of its start as well."""
CLOCK_S = 0.005
"""Two submits so close together may come in either order."""
Promise = Callable[[Story], Iterator[str]]


def check(records: Iterable[Record]) -> dict[str, list[str]]:
    """The broken promises, each with all the ways in which it was broken; empty if all were kept."""
    return judge(Story(records))


def judge(story: Story) -> dict[str, list[str]]:
    """The same of a history that has been put in order."""
    found = {promise: list(broken(story)) for promise, broken in PROMISES.items()}
    return {promise: sentences for promise, sentences in found.items() if sentences}


def _lost(story: Story) -> Iterator[str]:
    for run_id in story.accepted:
        if run_id not in story.listed:
            yield f"{run_id} was accepted and is not in the list"
        elif story.audited(run_id) is None:
            yield f"{run_id} was accepted and its events cannot be read to the end"
    for call in story.calls:
        run_id = call.path.removeprefix(f"{RUNS}/").partition("/")[0].partition("?")[0]
        accepted = story.accepted.get(run_id)
        if call.status == 404 and accepted is not None and call.asked_at >= accepted.answered_at:
            yield f"{run_id} was accepted and then not found by {_where(call)}"


def _stuck(story: Story) -> Iterator[str]:
    for run_id, view in story.listed.items():
        if view.status not in FINAL:
            yield f"{run_id} is {view.status} in the end"


def _duplicated(story: Story) -> Iterator[str]:
    for order, runs in story.runs_of.items():
        if len(runs) > 1:
            yield f"order {order} became {len(runs)} runs: {', '.join(sorted(runs))}"
    orders: dict[str, set[str]] = defaultdict(set)
    for order, runs in story.runs_of.items():
        for run_id in runs:
            orders[run_id].add(order)
    for run_id, of in orders.items():
        if len(of) > 1:
            yield f"{run_id} stands for {len(of)} orders: {', '.join(sorted(of))}"


def _ended_twice(story: Story) -> Iterator[str]:
    for run_id in story.streams:
        ends = {seq for seq, _ in story.completes(run_id)}
        last = max((e.seq for stream in story.streams[run_id] for e in stream.events), default=0)
        if len(ends) > 1:
            yield f"{run_id} has {len(ends)} terminal events: {sorted(ends)}"
        elif ends and max(ends) != last:
            yield f"{run_id} ended with event {max(ends)} and had an event {last}"
        elif not ends and any(stream.done for stream in story.streams[run_id]):
            yield f"{run_id} has a stream that is done without a terminal event"


def _has_gap(story: Story) -> Iterator[str]:
    for run_id, streams in story.streams.items():
        for stream in streams:
            numbers = [stream.after, *(event.seq for event in stream.events)]
            gaps = [(a, b) for a, b in pairwise(numbers) if b != a + 1]
            if gaps:
                yield f"{run_id}: {stream.client} read event {gaps[0][1]} after {gaps[0][0]}"


def _rewritten(story: Story) -> Iterator[str]:
    for run_id, streams in story.streams.items():
        known: dict[int, Seen] = {}
        for event in (event for stream in streams for event in stream.events):
            before = known.setdefault(event.seq, event)
            if before.data != event.data:
                yield f"{run_id}: event {event.seq} was {before.data} and is {event.data}"
        audited = story.audited(run_id)
        kept = {event.seq for event in audited.events} if audited else set(known)
        for seq in sorted(known.keys() - kept):
            yield f"{run_id}: event {seq} was seen and is gone: {known[seq].data}"


def _status_changed(story: Story) -> Iterator[str]:
    for run_id, sightings in story.sightings.items():
        final = {s.status for s in sightings if s.status in FINAL}
        final |= {outcome.status for _, outcome in story.completes(run_id)}
        if len(final) > 1:
            yield f"{run_id} has ended as {' and as '.join(sorted(final))}"
        known_at = min((s.answered_at for s in sightings if s.status in FINAL), default=float("inf"))
        for sighting in sightings:
            if sighting.status not in FINAL and sighting.asked_at > known_at:
                yield f"{run_id} had ended and was then {sighting.status} ({sighting.asked_at:.3f})"


def _attempt_went_back(story: Story) -> Iterator[str]:
    for run_id, sightings in story.sightings.items():
        for before in sightings:
            for after in sightings:
                if after.asked_at > before.answered_at and 0 < after.attempt < before.attempt:
                    yield f"{run_id} was in attempt {before.attempt} and then in {after.attempt}"


def _cancelled_in_vain(story: Story) -> Iterator[str]:
    for call in story.calls:
        if call.path.endswith("/cancel") and call.status == 200:
            run_id = call.path.removeprefix(f"{RUNS}/").partition("/")[0]
            seen = {s.status for s in story.sightings[run_id] if s.asked_at > call.answered_at}
            seen |= {outcome.status for _, outcome in story.completes(run_id)}
            if seen - {"cancelled"}:
                yield f"{run_id} was cancelled and is then seen {', '.join(sorted(seen))}"


def _wrong_result(story: Story) -> Iterator[str]:
    for run_id in story.streams.keys() | story.results.keys():
        order = story.order_of(run_id)
        told = [outcome.result for _, outcome in story.completes(run_id) if outcome.status == "succeeded"]
        for result in [*told, *story.results.get(run_id, [])]:
            if order is None or result != order.prompt:
                yield f"{run_id} was asked {order and order.prompt!r} and answers {result!r}"


def _failed(story: Story) -> Iterator[str]:
    """Nothing here fails by itself: only a run whose own process was killed again and again may."""
    for run_id, view in story.listed.items():
        given_up = view.error_code == "worker_lost" and view.attempt >= LOSSES
        if view.status == "failed" and not given_up:
            yield f"{run_id} failed in attempt {view.attempt}: {view.error_code}"


def _started_twice(story: Story) -> Iterator[str]:
    seen: set[tuple[str, int]] = set()
    for said in story.said:
        if said.word == "begin":
            if (said.run_id, said.attempt) in seen:
                yield f"{said.run_id}: attempt {said.attempt} began twice"
            seen.add((said.run_id, said.attempt))


def _overlapping(story: Story) -> Iterator[str]:
    """Of each run only the attempt that made its outcome counts: an earlier one was given up and may linger."""
    for session, spans in _sessions(story).items():
        for (_, ended_at, run_id), (began_at, _, other) in pairwise(sorted(spans)):
            if began_at < ended_at:
                yield f"{session}: {other} began {ended_at - began_at:.3f} s before {run_id} had ended"


def _out_of_order(story: Story) -> Iterator[str]:
    for session, spans in _sessions(story).items():
        latest, latest_at = "", 0.0
        for _, _, run_id in sorted(spans):
            accepted = story.accepted[run_id]
            if accepted.answered_at + CLOCK_S < latest_at:
                yield f"{session}: {run_id} was handed in before {latest} and began after it"
            latest, latest_at = max(
                (latest, latest_at), (run_id, accepted.first_asked_at), key=lambda one: one[1]
            )


def _sessions(story: Story) -> dict[str, list[tuple[float, float, str]]]:
    """When the attempts that succeeded began and ended, by session."""
    began, ended = _words(story, "begin"), _words(story, "end")
    found: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for run_id, accepted in story.accepted.items():
        view, session = story.listed.get(run_id), accepted.order.session_id
        if view is not None and session is not None and view.status == "succeeded":
            attempt = run_id, view.attempt
            if attempt in began and attempt in ended:
                found[session].append((began[attempt], ended[attempt], run_id))
    return found


def _words(story: Story, word: str) -> dict[tuple[str, int], float]:
    return {(said.run_id, said.attempt): said.at for said in story.said if said.word == word}


def _too_early(story: Story) -> Iterator[str]:
    for run_id, view in story.listed.items():
        order = story.order_of(run_id)
        if order is not None and order.delay and view.started_at:
            waited_s = (_time(view.started_at) - _time(view.created_at)).total_seconds()
            if waited_s < order.delay - 0.002:
                yield f"{run_id} was to wait {order.delay} s and waited {waited_s:.3f}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _nonsense(story: Story) -> Iterator[str]:
    for call in story.calls:
        if call.status == 503 and not call.retry_after:
            yield f"{_where(call)} answered 503 without Retry-After"
        elif call.status not in (None, 503) and call.status not in _fitting(call):
            yield f"{_where(call)} answered {call.status}: {call.answer[:300]}"
    for code in story.refusals.keys() - FOR_THE_MOMENT:
        yield f"{_where(story.refusals[code][0])} answered {code} for one of its runs"
    for run_id, streams in story.streams.items():
        for stream in streams:
            if stream.status not in (None, 200, 204, 503):
                yield f"the stream of {run_id} at server{stream.server} answered {stream.status}"


def _fitting(call: Call) -> tuple[int, ...]:
    if call.path == RUNS and call.method == "POST":
        return (202,)
    if call.path == f"{RUNS}/batch":
        return (200, 207)
    if call.path.endswith(("/cancel", "/result")):
        return (200, 400)
    return (200,)


def _where(call: Call) -> str:
    return f"{call.method} {call.path} at server{call.server} ({call.asked_at:.3f})"


def _ended_by_itself(story: Story) -> Iterator[str]:
    for ended in story.ended:
        if ended.age_s > START_S:
            yield f"{ended.target} ended by itself after {ended.age_s:.1f} s with code {ended.code}"


def _left_behind(story: Story) -> Iterator[str]:
    for left in story.left:
        yield f"process {left.pid} ({left.name}) was left behind"


PROMISES: dict[str, Promise] = {
    "no accepted run is lost": _lost,
    "every run ends": _stuck,
    "an order makes one run": _duplicated,
    "there is one terminal event, and it is the last": _ended_twice,
    "events are numbered without a gap": _has_gap,
    "an event never changes or disappears": _rewritten,
    "a final status never changes": _status_changed,
    "attempts are counted upwards": _attempt_went_back,
    "a cancelled run stays cancelled": _cancelled_in_vain,
    "the result belongs to the prompt": _wrong_result,
    "a run fails only when its own process died again and again": _failed,
    "an attempt starts once": _started_twice,
    "a session with one place runs one at a time": _overlapping,
    "a session with one place runs in order": _out_of_order,
    "a run for later is not early": _too_early,
    "every answer makes sense": _nonsense,
    "nothing ends by itself": _ended_by_itself,
    "nothing is left behind": _left_behind,
}
