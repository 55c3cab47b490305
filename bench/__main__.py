"""Measure Outlast beside PraisonAI's jobs server and a bare ceiling: `make bench`, or `make bench ARGS=--quick`.

`make bench ARGS="--only postgres"` measures it on a PostgreSQL of the bench's own, with servers and workers apart.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import bursts, ceiling, gateway, latency, machine, ours, peer, reads, report, starts
from bench.onpostgres import cluster, demand, growth, runs, submits, waits
from bench.report import Row
from bench.turns import FULL, QUICK, Scale

_ROOT = Path(__file__).resolve().parent.parent
_PAGE = _ROOT / "docs" / "performance.md"
_POSTGRES_PAGE = _ROOT / "docs" / "operations" / "scale.md"
_MARK = "<!-- What follows is written by `make bench ARGS=--write`. -->\n"
_POSTGRES_MARK = '<!-- What follows is written by `make bench ARGS="--only postgres --write"`. -->\n'
_COLUMNS = (ours.NAME, peer.MEMORY, peer.SQLITE, ceiling.NAME)
_POSTGRES_COLUMNS = (cluster.NAME, ceiling.ON_POSTGRES, peer.MEMORY, peer.SQLITE)

_ALL_ON_POSTGRES = "postgres"

SCENARIOS: dict[str, Callable[[Scale, Path], list[Row]]] = {
    "burst": bursts.measure,
    "status": reads.status,
    "list": reads.lists,
    "lone": latency.lone,
    "beside": latency.beside_agents,
    "start": starts.measure,
    "gateway": gateway.measure,
}
POSTGRES: dict[str, Callable[[Scale, Path], list[Row]]] = {
    "postgres-submit": submits.measure,
    "postgres-runs": runs.measure,
    "postgres-demand": demand.measure,
    "postgres-waits": waits.measure,
    "postgres-loss": waits.loss,
    "postgres-growth": growth.measure,
}


def main() -> None:
    """Run the scenarios one after another; print each figure when it is there and the tables at the end."""
    asked = _arguments()
    # A bench that is told to stop ends its servers too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    scale: Scale = QUICK if asked.quick else FULL
    peer.install()
    folder = peer.FOLDER / "data"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as data:
        where = machine.describe(Path(data))
        print(where, flush=True)
        rows = [row for name in asked.only for row in _run(name, scale, Path(data))]
    on_postgres = all(name in POSTGRES for name in asked.only)
    words = [*(["--only postgres"] if on_postgres else []), *(["--quick"] if asked.quick else [])]
    command = f'make bench ARGS="{" ".join(words)}"' if words else "make bench"
    columns = _POSTGRES_COLUMNS if on_postgres else _COLUMNS
    page = f"- command: `{command}`\n{where}\n\n{report.tables(rows, columns)}"
    print(f"\n{page}")
    if asked.write:
        _write(page, *((_POSTGRES_PAGE, _POSTGRES_MARK) if on_postgres else (_PAGE, _MARK)))


def _run(name: str, scale: Scale, folder: Path) -> list[Row]:
    began = time.monotonic()
    print(f"{name} …", flush=True)
    rows = {**SCENARIOS, **POSTGRES}[name](scale, folder)
    report.progress(rows)
    print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
    return rows


def _write(page: str, to: Path, mark: str) -> None:
    head, found, _ = to.read_text(encoding="utf-8").partition(mark)
    if not found:
        raise SystemExit(f"{to} has no line that says where the figures go: {mark}")
    to.write_text(f"{head}{mark}\n{page}", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run of a minute; its figures mean little"
    )
    parser.add_argument("--write", action="store_true", help="put the tables into the page about them")
    choices = [*SCENARIOS, *POSTGRES, _ALL_ON_POSTGRES]
    parser.add_argument("--only", nargs="+", choices=choices, default=list(SCENARIOS), help="some of it")
    asked = parser.parse_args()
    if _ALL_ON_POSTGRES in asked.only:
        asked.only = [*(name for name in asked.only if name != _ALL_ON_POSTGRES), *POSTGRES]
    return asked


if __name__ == "__main__":
    main()
