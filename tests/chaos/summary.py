"""What a trial comes to, for people."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tests.chaos.story import Story

SHOWN = 5


def summary(story: Story, broken: Mapping[str, Sequence[str]]) -> str:
    """The figures, and the verdict."""
    final = Counter(view.status for view in story.listed.values())
    harms = Counter(harm.kind for harm in story.harms if harm.kind != "goes on")
    calls = Counter(call.status for call in story.calls)
    attempts = sum(view.attempt for view in story.listed.values())
    events = sum(len(stream.events) for streams in story.streams.values() for stream in streams)
    lines = [
        f"runs accepted {len(story.accepted)}, found {len(story.listed)}: "
        + ", ".join(f"{n} {status}" for status, n in sorted(final.items())),
        f"attempts {attempts}, events read {events}, streams {sum(map(len, story.streams.values()))}",
        f"harms {harms.total()}: " + ", ".join(f"{n} {kind}" for kind, n in sorted(harms.items())),
        f"requests {calls.total()}: {calls[503]} times 503, {calls[None]} without answer, "
        f"{sum(call.again > 0 for call in story.calls)} asked again, {story.replays} duplicates avoided",
    ]
    return "\n".join([*lines, *_verdict(broken)])


def _verdict(broken: Mapping[str, Sequence[str]]) -> list[str]:
    if not broken:
        return ["verdict: every promise was kept"]
    lines = [f"verdict: {len(broken)} promises were broken"]
    for promise, sentences in broken.items():
        lines += [f"BROKEN: {promise} ({len(sentences)} times)"]
        lines += [f"  {sentence}" for sentence in sentences[:SHOWN]]
    return lines
