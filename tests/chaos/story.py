"""A history put in order by run: who handed in what, who saw what of it, and when. It judges nothing."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from tests.chaos.history import Audit, Call, Ended, Harm, Left, Record, Said, Stream

RUNS = "/api/v1/runs"
_ONE = re.compile(r"/api/v1/runs/(run_[^/?]+)(/[a-z]+)?")


class Metadata(msgspec.Struct, frozen=True):
    order: str = ""


class Order(msgspec.Struct, frozen=True):
    """What a client handed in."""

    prompt: str
    metadata: Metadata = Metadata()
    session_id: str | None = None
    delay: float = 0.0
    idempotency_key: str | None = None


class Orders(msgspec.Struct, frozen=True):
    runs: list[Order]


class View(msgspec.Struct, frozen=True):
    """What an answer says of a run; of a member of a batch that was refused, nothing but the code."""

    job_id: str = ""
    status: str | int = ""
    """Of a refusal, the number that it would have as an answer of its own."""
    attempt: int = 0
    metadata: Metadata = Metadata()
    created_at: str = ""
    started_at: str = ""
    code: str = ""
    error_code: str = ""
    result: str | None = None
    replayed: bool = False


class Views(msgspec.Struct, frozen=True):
    jobs: list[View] = []
    results: list[View] = []


class Outcome(msgspec.Struct, frozen=True):
    """What an event says."""

    status: str = ""
    attempt: int = 0
    result: str | None = None
    error_code: str = ""


class Told(msgspec.Struct, frozen=True):
    event: str
    data: Outcome


class Sighting(msgspec.Struct, frozen=True):
    """Somebody was told this status, of a question asked then and answered then."""

    asked_at: float
    answered_at: float
    status: str
    attempt: int = 0


class Accepted(msgspec.Struct, frozen=True):
    """A run that a client was promised."""

    order: Order
    first_asked_at: float
    answered_at: float


_order = msgspec.json.Decoder(Order).decode
_orders = msgspec.json.Decoder(Orders).decode
_view = msgspec.json.Decoder(View).decode
_views = msgspec.json.Decoder(Views).decode
told = msgspec.json.Decoder(Told).decode


class Story:
    """The index of a history."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.calls: list[Call] = []
        self.streams: dict[str, list[Stream]] = defaultdict(list)
        self.harms: list[Harm] = []
        self.ended: list[Ended] = []
        self.said: list[Said] = []
        self.left: list[Left] = []
        self.audit_at = float("inf")
        self.accepted: dict[str, Accepted] = {}
        self.runs_of: dict[str, set[str]] = defaultdict(set)
        """Runs by the number of their order, by whatever answer."""
        self.orders: dict[str, Order] = {}
        self.sightings: dict[str, list[Sighting]] = defaultdict(list)
        self.listed: dict[str, View] = {}
        """What the audit's list shows."""
        self.results: dict[str, list[str | None]] = defaultdict(list)
        self.refusals: dict[str, list[Call]] = defaultdict(list)
        """Batches by the codes that their members were refused with."""
        self.replays = 0
        self._first_asked: dict[str, float] = {}
        for record in records:
            self._take(record)

    def _take(self, record: Record) -> None:
        match record:
            case Call():
                self.calls.append(record)
                self._take_call(record)
            case Stream():
                self.streams[record.run_id].append(record)
            case Harm():
                self.harms.append(record)
            case Ended():
                self.ended.append(record)
            case Said():
                self.said.append(record)
            case Left():
                self.left.append(record)
            case Audit():
                self.audit_at = record.at

    def _take_call(self, call: Call) -> None:
        if call.method == "POST" and call.path in (RUNS, f"{RUNS}/batch"):
            self._take_submit(call)
        elif call.path.partition("?")[0] == RUNS and call.status == 200:
            for view in _views(call.answer).jobs:
                self._take_view(call, view)
        elif (about := _ONE.match(call.path)) and call.status == 200:
            view = _view(call.answer)
            self._take_view(call, msgspec.structs.replace(view, metadata=Metadata()))
            if about[2] == "/result":
                self.results[view.job_id].append(view.result)

    def _take_submit(self, call: Call) -> None:
        body = call.body or "{}"
        orders = [_order(body)] if call.path == RUNS else _orders(body).runs
        for order in orders:
            self.orders[order.metadata.order] = order
            self._first_asked.setdefault(order.metadata.order, call.asked_at)
        for order, view in zip(orders, _promised(call), strict=False):
            if view.code:
                self.refusals[view.code].append(call)
            else:
                self._accept(call, order, view)

    def _accept(self, call: Call, order: Order, view: View) -> None:
        number = order.metadata.order
        self.replays += call.replayed or view.replayed
        self.runs_of[number].add(view.job_id)
        self._see(call, view)
        asked_at = self._first_asked[number]
        self.accepted.setdefault(view.job_id, Accepted(order, asked_at, call.answered_at))

    def _take_view(self, call: Call, view: View) -> None:
        if view.metadata.order:
            self.runs_of[view.metadata.order].add(view.job_id)
        if call.asked_at >= self.audit_at and view.metadata.order:
            self.listed[view.job_id] = view
        self._see(call, view)

    def _see(self, call: Call, view: View) -> None:
        self.sightings[view.job_id].append(
            Sighting(call.asked_at, call.answered_at, str(view.status), view.attempt)
        )

    def order_of(self, run_id: str) -> Order | None:
        """What was handed in for a run."""
        if run_id in self.accepted:
            return self.accepted[run_id].order
        return self.orders.get(self.listed[run_id].metadata.order) if run_id in self.listed else None

    def audited(self, run_id: str) -> Stream | None:
        """The run's events as read in the audit, if they were read to the end."""
        found = [s for s in self.streams.get(run_id, []) if s.asked_at >= self.audit_at and s.done]
        return found[-1] if found else None

    def completes(self, run_id: str) -> Iterator[tuple[int, Outcome]]:
        """The terminal events of a run, as often as they were seen."""
        for stream in self.streams.get(run_id, []):
            for event in stream.events:
                if '"event":"complete"' in event.data:
                    yield event.seq, told(event.data).data


def _promised(call: Call) -> list[View]:
    if call.status == 202:
        return [_view(call.answer)]
    if call.status in (200, 207):
        return _views(call.answer).results
    return []
