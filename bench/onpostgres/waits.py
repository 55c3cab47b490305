"""Across processes: how soon one of them acts on what was committed through another."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from bench.latency import lone_submits
from bench.load import LoadError, percentile, post
from bench.onpostgres.cluster import NAME, Cluster, cluster, postgres
from bench.onpostgres.reader import Reader
from bench.onpostgres.told import told
from bench.report import Bound, Row
from bench.runs import Watcher, accepted
from bench.turns import Scale

_LINES = 40
"""Lines that one run logs, so far apart that each is written by itself."""
_CANCELLED = 10
_KILLED = 5
_LEASE_S = 3.0
_GONE_S = 30.0
_TELL = b'{"prompt": "Go on.", "agent": "tell"}'
_TICK = b'{"prompt": "%d", "framework": "echo"}' % _LINES


def measure(scale: Scale, folder: Path) -> list[Row]:
    """Two servers and two workers."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        url = database.database()
        running = stack.enter_context(cluster(url, folder, servers=2, workers=2, stamps=True))
        lone_submits(running, 5)
        picked_up = lone_submits(running, scale.lone * scale.rounds)
        committed = told(url, running.servers[0].port, scale.lone * scale.rounds)
        logged = [ns for _ in range(scale.rounds) for ns in _lines_late(running)]
        cancelled = [_cancel(running) for _ in range(_CANCELLED)]
    return [
        _wait("lone submit to agent code at a worker p50, ms", picked_up, 50, 10),
        _wait("lone submit to agent code at a worker p99, ms", picked_up, 99, 50),
        _wait("event committed by a worker to bytes at a stream p50, ms", committed, 50, 3),
        _wait("event committed by a worker to bytes at a stream p99, ms", committed, 99, 25),
        _wait("line logged by an agent to bytes at a stream p50, ms", logged, 50),
        _wait("line logged by an agent to bytes at a stream p99, ms", logged, 99),
        _wait(
            "cancel at another server to the end of a blocked agent's process p50, ms", cancelled, 50, 1000
        ),
        _wait("the same, the longest of ten, ms", cancelled, 100, 1000),
    ]


def loss(scale: Scale, folder: Path) -> list[Row]:
    """`kill -9` of the worker that has a run, until its agent's code runs at another; the lease is taken off."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        env = {"OUTLAST_LEASE_S": f"{_LEASE_S:g}"}
        running = stack.enter_context(cluster(database.database(), folder, workers=2, env=env))
        _cancel(running)
        after = [_lose(running) for _ in range(min(_KILLED, scale.rounds))]
    return [
        Row(
            f"kill -9 of a worker to its run started elsewhere, less the lease of {_LEASE_S:g} s, s",
            {NAME: [max(after) / 1e9]},
            (Bound(at_most=1),),
            digits=2,
        )
    ]


def _wait(what: str, waits: list[int], percent: float, at_most: float | None = None) -> Row:
    bounds = () if at_most is None else (Bound(at_most=at_most),)
    return Row(what, {NAME: [percentile(waits, percent) / 1e6]}, bounds, digits=1)


def _lines_late(running: Cluster) -> Iterator[int]:
    """From the agent's call to the bytes at the reader, of each line of one run."""
    with Watcher(running) as watcher:
        run_id = accepted(watcher.ask(post("/api/v1/runs", _TICK), b"202"))
    with closing(Reader(running.servers[0].port, run_id)) as reader:
        # Those from before the stream was open are replayed, not told.
        yield from [at - int(line) for line, at in reader.lines()][_LINES // 4 :]


def _cancel(running: Cluster) -> int:
    """From the send of the cancel to the end of the agent's process."""
    with Watcher(running) as watcher:
        run_id = accepted(watcher.ask(post("/api/v1/runs", _TELL), b"202"))
        with closing(Reader(running.port, run_id)) as reader:
            line, _ = next(reader.lines())
    other = running.servers[0] if running.servers else running
    with Watcher(other) as watcher:
        began = time.monotonic_ns()
        watcher.cancel(run_id)
    return _end_of(int(line.split()[0])) - began


def _end_of(pid: int) -> int:
    deadline = time.monotonic() + _GONE_S
    while _is_there(pid):
        if time.monotonic() > deadline:
            raise LoadError("A cancelled agent's process does not end.")
        time.sleep(0.001)
    return time.monotonic_ns()


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _lose(running: Cluster) -> int:
    """From the kill to the second attempt's first line, less the lease."""
    with Watcher(running) as watcher:
        run_id = accepted(watcher.ask(post("/api/v1/runs", _TELL), b"202"))
        with closing(Reader(running.port, run_id)) as reader:
            lines = reader.lines()
            pid = int(next(lines)[0].split()[0])
            worker = next(one for one in running.workers if one.carries(pid))
            running.workers.remove(worker)
            killed_at = worker.kill()
            started_at = int(next(lines)[0].split()[1])
        watcher.cancel(run_id)
    running.add_worker()
    running.settle()
    return started_at - killed_at - int(_LEASE_S * 1e9)
