"""`make chaos`: kill everything at random for a while, and say whether every promise was kept.

    make chaos ARGS="--seconds 60 --seed 7 --store sqlite"

Exits with 1 if a promise was broken, and keeps history and logs; `--judge FILE` only judges a history again.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.checker import judge
from tests.chaos.history import read
from tests.chaos.story import Story
from tests.chaos.summary import summary
from tests.chaos.trial import Plan, carry_out


def main() -> int:
    """The exit code."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if options.judge is not None:
        return _judged(options.judge)
    root = Path(tempfile.mkdtemp(prefix="outlast-chaos-"))
    plan = Plan(
        store=options.store,
        seed=options.seed,
        seconds=options.seconds,
        rate=options.rate,
        clients=options.clients,
        every_s=options.every,
    )
    print(f"{plan.store}, seed {plan.seed}, {plan.seconds:g} s; history and logs in {root}", flush=True)
    code = _judged(carry_out(plan, root))
    if code == 0 and not options.keep:
        shutil.rmtree(root)
    return code


def _judged(path: Path) -> int:
    story = Story(read(path))
    broken = judge(story)
    print(summary(story, broken))
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=…", description="Random kills of everything.")
    parser.add_argument("--seconds", type=float, default=300, help="how long harm is done")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=["postgres", "sqlite"], default="postgres")
    parser.add_argument("--rate", type=float, default=30, help="submits a second")
    parser.add_argument("--clients", type=int, default=120)
    parser.add_argument("--every", type=float, default=3, help="seconds between two harms, on average")
    parser.add_argument("--keep", action="store_true", help="keep history and logs in any case")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="judge this history, and do nothing else")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
