"""Another machine, as far as the network is concerned: a namespace with a cable to each thing it may reach.

A cable that is cut swallows what is sent on it without a word, as a dead switch does: nobody hears of an error.
"""

import os
import shutil
import subprocess
from types import TracebackType
from typing import Self

NOWHERE = "02:00:00:00:00:99"


class Cable:
    """A pair of ends: `here` is our address on it, `there` the machine's."""

    def __init__(self, machine: str, name: str, number: int) -> None:
        self._machine = machine
        self._ends = (f"o{os.getpid()}{name[:3]}h", f"o{os.getpid()}{name[:3]}t")
        net = f"10.{100 + os.getpid() // 256 % 100}.{os.getpid() % 256}"
        self.here, self.there = f"{net}.{number * 4 + 1}", f"{net}.{number * 4 + 2}"

    def lay(self) -> None:
        here, there = self._ends
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", self._machine)
        _ip("address", "add", f"{self.here}/30", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", self._machine, "address", "add", f"{self.there}/30", "dev", there)
        _ip("-n", self._machine, "link", "set", there, "up")

    def cut(self) -> None:
        """Send everything, both ways, to a station that is not there."""
        here, there = self._ends
        _ip("neighbour", "replace", self.there, "lladdr", NOWHERE, "dev", here, "nud", "permanent")
        away = ("neighbour", "replace", self.here, "lladdr", NOWHERE, "dev", there, "nud", "permanent")
        _ip("-n", self._machine, *away)

    def mend(self) -> None:
        here, there = self._ends
        _ip("neighbour", "del", self.there, "dev", here)
        _ip("-n", self._machine, "neighbour", "del", self.here, "dev", there)


class Machine:
    """A namespace with a cable to the database and one to the model provider, and nothing else."""

    def __init__(self) -> None:
        self.name = f"outlast-{os.getpid()}"
        self.starter = ("ip", "netns", "exec", self.name)
        self.to_database = Cable(self.name, "database", 0)
        self.to_provider = Cable(self.name, "provider", 1)

    def __enter__(self) -> Self:
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")
        self.to_database.lay()
        self.to_provider.lay()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _ip("netns", "delete", self.name)  # its ends of the cables go with it, and so do ours


def why_not() -> str | None:
    """Why there can be no such machine here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces need root and the ip command"
    tried = subprocess.run(
        ["ip", "netns", "add", f"outlast-try-{os.getpid()}"], capture_output=True, text=True, check=False
    )
    if tried.returncode != 0:
        return f"network namespaces are not permitted here: {tried.stderr.strip()}"
    _ip("netns", "delete", f"outlast-try-{os.getpid()}")
    return None


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
