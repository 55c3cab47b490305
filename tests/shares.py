"""Which tests go together to one of the processes that share a run of them (`pytest -n 2`), and in which order.

A file is one share: what its tests have in common is made once. The folders of `TOGETHER` are one share, each with the
reason. Each process has servers, databases and folders of its own, and looks for processes by what only its own have.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = {
    "machine": ("tests/faults/", "tests/chaos/", "tests/operations/"),
}
"""`machine`: whole fleets, killed and started, whose promises have seconds in them. Two beside each other would slow
each other down, and make the one fleet of tests/faults twice."""


class Shares(LoadScopeScheduling):
    """Gives each process its next share when it has almost done the one before; the longest share goes first."""

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)


def share_of(nodeid: str) -> str:
    """The name of the share that a test belongs to."""
    names = (name for name, folders in TOGETHER.items() if nodeid.startswith(folders))
    return next(names, nodeid.partition("::")[0])


def longest_first(items: list[pytest.Item]) -> None:
    """Put shares first that have slow tests: one that is begun last keeps everybody waiting."""
    slow = {share_of(item.nodeid) for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (share_of(item.nodeid) not in TOGETHER, share_of(item.nodeid) not in slow))
