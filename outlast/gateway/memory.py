"""What one attempt remembers of its calls, and what it found of the attempts before it. Pure; nothing here waits.

Which call is which: the n-th time that this attempt asks a question is the n-th call of it in every attempt. Asking
again what failed, or what the agent did not stay to hear, is the same call and not the next.
"""

import hashlib
from collections.abc import Iterable, Mapping

from outlast.gateway.flight import Flight, Line
from outlast.gateway.question import Question
from outlast.gateway.toolresults import ToolResult
from outlast.journal import CallKey, Journal, JournalCall, Link, Pin
from outlast.runs import Json


class Slot:
    """The n-th call of one question in this attempt."""

    def __init__(self, key: CallKey, line: Line) -> None:
        self.key = key
        self.line = line
        """Who asked last."""
        self.flight: Flight | None = None
        """The answer on its way."""
        self.kept: CallKey | None = None
        """Where the journal has the answer; by a normalised hit that is another key."""

    @property
    def is_unheard(self) -> bool:
        """Its asker has gone without the whole answer, or there was none that could be kept."""
        failed = self.flight is None and self.kept is None
        return failed or not (self.line.is_open or self.line.is_served)


class Memory:
    """The calls of one attempt."""

    def __init__(self, journal: Journal) -> None:
        self._slots: dict[bytes, list[Slot]] = {}
        self._unused = {call.key: call for call in journal.calls}
        self._pinned = {(pin.tool_call_id, pin.k): pin.content for pin in journal.pins}
        self._has_kept: set[tuple[str, int]] = set()
        """Pins of its own that are in the journal. It sends their contents itself: there is nothing to replace."""
        self._contents: dict[str, dict[bytes, int]] = {}
        """Of a tool's call: which of its contents is the k-th."""
        self._kept_links = {call.asked.last for call in journal.calls}
        self._asked: set[bytes] = set()
        """The last links of what this attempt has asked."""
        self._has_diverged = False
        self.normal: dict[CallKey, bytes] = {}
        """The normalised hashes of kept calls, as far as they were needed."""

    def slot(self, question: bytes, line: Line, *, again: bool) -> Slot:
        """The call that this is, now asked by `line`; `again` if its client says that it asked before."""
        slots = self._slots.setdefault(question, [])
        slot = next((slot for slot in slots if slot.is_unheard), None)
        if slot is None and again and slots:
            slot = next((slot for slot in slots if slot.flight is not None), slots[-1])
        if slot is None:
            slot = Slot(CallKey(question, len(slots) + 1), line)
            slots.append(slot)
            slot.kept = slot.key if self.use(slot.key) else None
        slot.line = line
        return slot

    # What attempts before left.

    def use(self, key: CallKey) -> bool:
        """Whether the journal has this call for us; only once."""
        return self._unused.pop(key, None) is not None

    def unused(self, path: str) -> tuple[JournalCall, ...]:
        """What is left to replay, in the order in which it was finished."""
        return tuple(call for call in self._unused.values() if call.asked.path == path)

    def hears(self, question: Question) -> int:
        """Take note of a question; how many of its messages this attempt has asked before: it goes on from there."""
        links = question.links
        before = next((n for n in range(len(links) - 1, 0, -1) if links[n - 1].hash in self._asked), 0)
        if links:
            self._asked.add(links[-1].hash)
        return before

    def leaves(self, path: str) -> tuple[JournalCall, ...]:
        """The calls that a live one may leave behind; none once that was said of one."""
        return () if self._has_diverged else self.unused(path)

    def diverges(self) -> bool:
        """Whether a call is the first to be said to have left the others behind."""
        is_first, self._has_diverged = not self._has_diverged, True
        return is_first

    # Results of tools.

    def pinned(self, results: Iterable[ToolResult]) -> tuple[Mapping[ToolResult, Json], tuple[Pin, ...]]:
        """What to put in the place of which results, and the results that are not in the journal yet."""
        replaced: dict[ToolResult, Json] = {}
        fresh: dict[tuple[str, int], Json] = {}
        for result in results:
            contents = self._contents.setdefault(result.id, {})
            k = contents.setdefault(hashlib.sha256(result.content).digest(), len(contents) + 1)
            pinned = self._pinned.get((result.id, k))
            if pinned is None and (result.id, k) not in self._has_kept:
                fresh[result.id, k] = result.content
            elif pinned is not None and pinned != result.content:
                replaced[result] = pinned
        return replaced, tuple(Pin(*name, content) for name, content in fresh.items())

    # What is to be kept.

    def fresh_links(self, question: Question) -> tuple[Link, ...]:
        """The links of a question that are not in the journal yet."""
        links = question.links
        known = next((n for n in range(len(links), 0, -1) if links[n - 1].hash in self._kept_links), 0)
        return links[known:]

    def handed_over(self, links: Iterable[Link], pins: Iterable[Pin]) -> None:
        """These are in the journal now."""
        self._kept_links.update(link.hash for link in links)
        self._has_kept.update((pin.tool_call_id, pin.k) for pin in pins)
