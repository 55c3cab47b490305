"""How CPython is set up in a process whose event loop shares it with the store's writer thread."""

import gc
import sys

SWITCH_INTERVAL_S = 0.001
"""How long a busy event loop may keep the writer thread from its next statement (CPython: 5 ms)."""
GC_THRESHOLDS = (25_000, 20, 100)
"""New objects between looks for garbage (CPython: 700): a run is hundreds of objects, hardly any in a cycle."""


def tune() -> None:
    """Set it up."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(*GC_THRESHOLDS)
