"""Measure Outlast beside PraisonAI's jobs server and a bare ceiling: `make bench`, or `make bench ARGS=--quick`."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import bursts, ceiling, latency, machine, ours, peer, reads, report, starts
from bench.report import Row
from bench.turns import FULL, QUICK, Scale

_ROOT = Path(__file__).resolve().parent.parent
_PAGE = _ROOT / "docs" / "performance.md"
_MARK = "<!-- What follows is written by `make bench ARGS=--write`. -->\n"
_COLUMNS = (ours.NAME, peer.MEMORY, peer.SQLITE, ceiling.NAME)

SCENARIOS: dict[str, Callable[[Scale, Path], list[Row]]] = {
    "burst": bursts.measure,
    "status": reads.status,
    "list": reads.lists,
    "lone": latency.lone,
    "beside": latency.beside_agents,
    "start": starts.measure,
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
    command = " ".join(["make bench", *(["ARGS=--quick"] if asked.quick else [])])
    page = f"- command: `{command}`\n{where}\n\n{report.tables(rows, _COLUMNS)}"
    print(f"\n{page}")
    if asked.write:
        _write(page)


def _run(name: str, scale: Scale, folder: Path) -> list[Row]:
    began = time.monotonic()
    print(f"{name} …", flush=True)
    rows = SCENARIOS[name](scale, folder)
    report.progress(rows)
    print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
    return rows


def _write(page: str) -> None:
    head, mark, _ = _PAGE.read_text(encoding="utf-8").partition(_MARK)
    if not mark:
        raise SystemExit(f"{_PAGE} has no line that says where the figures go: {_MARK}")
    _PAGE.write_text(f"{head}{mark}\n{page}", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run of a minute; its figures mean little"
    )
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), help="some of it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
