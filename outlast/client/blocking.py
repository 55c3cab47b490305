"""The client for ordinary, blocking code."""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from outlast.client import calls, connection, schedule_calls
from outlast.client.calls import Action, Call, Limits, Options, Task
from outlast.client.errors import AnsweredError, ClientError, NotFound, RunFinished, ServerError, WaitTimedOut
from outlast.client.models import (
    Accepted,
    Cancelled,
    Event,
    ModelCalls,
    Page,
    Result,
    Run,
    Schedule,
    SchedulePage,
    Status,
    Step,
    StepPage,
    Workers,
)
from outlast.client.pace import END_PAUSE_S, Polls, Retry
from outlast.client.schedule_calls import Changes, Times
from outlast.client.sse import NO_CONTENT, Reader

_T = TypeVar("_T")


class Client:
    """Talks to one server; a context manager. May be shared by threads.

    Every request may be retried: for `retry_s` seconds after a broken connection or a 503, and for `patience_s`
    while a run is waited for or streamed. No retry does a thing twice.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retry_s: float = 5.0,
        patience_s: float = 60.0,
    ) -> None:
        reach = connection.settings(url, api_key)
        self._url = reach["base_url"]
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._patience_s = patience_s
        self._http = httpx.Client(**reach)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client is of no use afterwards."""
        self._http.close()

    def submit(self, prompt: str, **options: Unpack[Options]) -> Accepted:
        """Hand in a run. When this returns, the run is on the server's disk, and there only once."""
        return self._send(calls.submit(prompt, options))

    def submit_many(self, tasks: Iterable[Task]) -> list[Accepted | AnsweredError]:
        """Hand in up to 1,000 runs at once: each is accepted, or is the error that its submit would have raised."""
        return self._send(calls.submit_many(tasks))

    def get(self, run_id: str) -> Run:
        """Where the run is now."""
        return self._send(calls.get(run_id))

    def result(self, run_id: str) -> Result:
        """What the run returned; `RunNotSucceeded` if it has not, or never will."""
        answer = self._send(calls.result(run_id))
        if answer.result_url is None:
            return answer
        return calls.with_result(answer, self._send(calls.raw_result(run_id)))

    def watch(self, run_id: str, *, every_s: float = 30.0, timeout_s: float | None = None) -> Iterator[Run]:
        """Where the run is: now, then each `every_s`, and the moment it ends. Stops early after `timeout_s`."""
        polls = Polls(every_s, timeout_s)
        while True:
            run = self._send(calls.get(run_id, polls.next_wait()), self._patience_s)
            yield run
            if run.is_final or polls.is_over:
                return
            time.sleep(polls.pause())

    def wait(self, run_id: str, *, timeout_s: float | None = None) -> Run:
        """The run once it has ended, however it ended; `WaitTimedOut` after `timeout_s`, and the run goes on."""
        run = None
        for run in self.watch(run_id, timeout_s=timeout_s):
            if run.is_final:
                return run
        status = run.status if run is not None else "unknown"
        raise WaitTimedOut(f"Run {run_id} is {status} after {timeout_s:g} s; it goes on.")

    def stream(self, run_id: str, *, after: int = 0, tokens: bool = False) -> Generator[Event, None, None]:
        """The run's events above number `after`, each once and in order, until the last one.

        Broken connections are taken up again where they broke. With `tokens`, also pieces of model output as
        they are made; those may be lost.
        """
        reader, retry = Reader(after), Retry(self._patience_s)
        while not reader.done:
            try:
                yield from self._listen(run_id, reader, retry, tokens=tokens)
                pause = END_PAUSE_S
            except (httpx.TransportError, ServerError) as error:
                pause = retry.pause(error, self._url)
            if not reader.done:
                time.sleep(pause)

    def list_runs(
        self,
        *,
        status: Status | None = None,
        session_id: str | None = None,
        page: int = 1,
        page_size: int = 20,
    ) -> Page:
        """One page of the runs, newest first."""
        return self._send(calls.list_runs(status, session_id, page, page_size))

    def iter_runs(
        self, *, status: Status | None = None, session_id: str | None = None, page_size: int = 100
    ) -> Iterator[Run]:
        """Every run, newest first, fetched page by page as they are asked for."""
        page = self._send(calls.list_runs(status, session_id, None, page_size))
        yield from page.jobs
        while page.next_cursor is not None:
            page = self._send(calls.list_runs(status, session_id, None, page_size, page.next_cursor))
            yield from page.jobs

    def cancel(self, run_id: str) -> Cancelled:
        """End the run; `RunFinished` if it had ended before."""
        try:
            return self._send(calls.cancel(run_id))
        except RunFinished as error:
            run = self.get(run_id) if error.after_retry else None
            if run is None or run.status != "cancelled":
                raise
            return calls.cancelled(run)  # the first try got through and its answer was lost

    def change_budget(self, run_id: str, **limits: Unpack[Limits]) -> Run:
        """Set what the run may use from now on (None: no limit); one that waits for that goes on if it is more."""
        return self._send(calls.change_budget(run_id, limits))

    def retry(self, run_id: str, *, fresh: bool = False) -> Accepted:
        """Ask for a finished run again, as a new run; `RunActive` while it has not ended.

        What its model calls were answered is had for nothing, unless it is to be `fresh`.
        """
        return self._send(calls.retry(run_id, fresh=fresh))

    def calls(self, run_id: str, *, after: int = 0, limit: int = 100) -> ModelCalls:
        """The run's model calls numbered above `after`, in order, up to `limit` of them."""
        return self._send(calls.model_calls(run_id, after, limit))

    def steps(self, run_id: str, *, page: int = 1, page_size: int = 100) -> StepPage:
        """A page of the run's steps, in the order in which they were begun."""
        return self._send(calls.steps(run_id, page, page_size))

    def step(self, run_id: str, step: str) -> Step:
        """One step of the run, with its whole result; `NotFound` if the run never came to it."""
        return self._send(calls.step(run_id, step))

    def answer_step(
        self, run_id: str, step: str, action: Action, *, result: object = None, error: str | None = None
    ) -> Run:
        """Say what is to become of a step that the run waits for, and let the run go on.

        `retry` does it again, `skip` goes on with the result, `fail` with the error. `Conflict` if it does not wait.
        """
        return self._send(calls.answer_step(run_id, step, action, result, error))

    def delete(self, run_id: str) -> None:
        """Remove a finished run and all that belongs to it; `RunActive` while it has not ended."""
        try:
            self._send(calls.delete(run_id))
        except NotFound as error:
            if not error.after_retry:
                raise

    def create_schedule(
        self, name: str, cron: str, run: Mapping[str, object], **more: Unpack[Times]
    ) -> Schedule:
        """Have a run submitted again and again. Not retried: if no answer comes, look whether it was made."""
        return self._send(schedule_calls.create({"name": name, "cron": cron, "run": run, **more}), 0.0)

    def list_schedules(self, *, page: int = 1, page_size: int = 20) -> SchedulePage:
        """One page of the schedules, newest first."""
        return self._send(schedule_calls.listed(page, page_size))

    def get_schedule(self, schedule_id: str) -> Schedule:
        """What the schedule does, and when it fires next."""
        return self._send(schedule_calls.get(schedule_id))

    def change_schedule(self, schedule_id: str, **changes: Unpack[Changes]) -> Schedule:
        """Change what is named; the rest stays."""
        return self._send(schedule_calls.change(schedule_id, changes))

    def pause_schedule(self, schedule_id: str) -> Schedule:
        """Let it fire no more until it is resumed."""
        return self._send(schedule_calls.pause(schedule_id))

    def resume_schedule(self, schedule_id: str) -> Schedule:
        """Let it fire again, next as seen from now."""
        return self._send(schedule_calls.resume(schedule_id))

    def trigger_schedule(self, schedule_id: str) -> Accepted:
        """Have its run made now, once."""
        return self._send(schedule_calls.trigger(schedule_id))

    def delete_schedule(self, schedule_id: str) -> None:
        """Forget the schedule; the runs it has made stay."""
        try:
            self._send(schedule_calls.delete(schedule_id))
        except NotFound as error:
            if not error.after_retry:
                raise

    def workers(self) -> Workers:
        """Who carries out runs: those that live, and those lost within the last day."""
        return self._send(calls.workers())

    def _send(self, call: Call[_T], retry_s: float | None = None) -> _T:
        retry = Retry(self._retry_s if retry_s is None else retry_s)
        while True:
            try:
                return call.read(self._http.send(self._request(call, self._timeout_s + call.patience_s)))
            except (httpx.TransportError, ServerError) as error:
                pause = retry.pause(error, self._url)
            except ClientError as error:
                error.after_retry = retry.is_retry
                raise
            time.sleep(pause)

    def _listen(
        self, run_id: str, reader: Reader, retry: Retry, *, tokens: bool
    ) -> Generator[Event, None, None]:
        """One connection's worth of the stream."""
        call = calls.stream(run_id, reader.last_id, tokens=tokens)
        reader.connected()
        response = self._http.send(self._request(call, self._timeout_s), stream=True)
        try:
            if not response.is_success:
                response.read()
            call.read(response)
            retry.renew()
            reader.done = response.status_code == NO_CONTENT
            for chunk in response.iter_bytes():
                yield from reader.feed(chunk)
        finally:
            response.close()

    def _request(self, call: Call[_T], read_timeout_s: float) -> httpx.Request:
        return self._http.build_request(
            call.method,
            call.path,
            params=call.params,
            headers=call.headers,
            content=call.content,
            timeout=connection.timeout(read_timeout_s),
        )
