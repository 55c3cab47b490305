"""The child process: `python -m outlast.localmodel` serves the weights until its stdin ends.

Prints one line `{"port": N}` on stdout when it can answer. It never outlives its owner: `--owner PID` also ties it to
that process by the kernel where Linux is, for the case that something else holds the stdin pipe open.
"""

import argparse
import ctypes
import os
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

from outlast.errors import OutlastError
from outlast.localmodel import llama, weights

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Serve; the exit code is 1 if there was nothing to serve, and stderr says why."""
    options = _options()
    if options.owner is not None:
        _belong_to(options.owner)
    try:
        served = llama.serve(options.weights or weights.require(), verbose=options.verbose)
    except (OutlastError, ImportError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _say_ready(served)
    sys.stdin.buffer.read()
    # Not through the interpreter's end: llama.cpp would wait there for the answer in progress.
    os._exit(0)


class _Options(argparse.Namespace):
    weights: Path | None
    owner: int | None
    verbose: bool


def _options() -> _Options:
    parser = argparse.ArgumentParser(prog="python -m outlast.localmodel", description=weights.DEMO_LABEL)
    parser.add_argument("weights", type=Path, nargs="?", help="a .gguf file (default: the demo model's)")
    parser.add_argument("--owner", type=int, help="end with this process, the one that starts me")
    parser.add_argument("--verbose", action="store_true", help="let llama.cpp talk on stderr")
    return parser.parse_args(namespace=_Options())


def _belong_to(owner: int) -> None:
    # A Ctrl-C or a service manager's SIGTERM reaches us too, while the owner lets runs finish that still ask us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != owner:  # it died before we asked
            os._exit(1)


def _say_ready(served: llama.Served) -> None:
    sys.stdout.write(f'{{"port": {urlsplit(served.listening_address).port}}}\n')
    sys.stdout.flush()
    # The pipe has said its one line; whatever native code may print belongs elsewhere.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
