"""What the figures were measured on; a figure without it says nothing."""

import os
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path


def describe(folder: Path) -> str:
    """Machine, disk, load and date in a few lines."""
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    moment = datetime.fromtimestamp(time.time(), UTC)
    return "\n".join(
        (
            f"- machine: {_cpu()}, {os.cpu_count()} cores, {memory_gb:.0f} GB, {platform.system()} "
            f"{platform.release()}, Python {platform.python_version()}",
            f"- disk: a flush of 4 KiB takes {_flush_ms(folder):.2f} ms (median)",
            f"- load average at the start: {os.getloadavg()[0]:.1f}",
            f"- date: {moment:%Y-%m-%d %H:%M} UTC",
        )
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )


def _flush_ms(folder: Path, count: int = 200) -> float:
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(count):
            file.write(bytes(4096))
            file.flush()
            began = time.monotonic()
            os.fdatasync(file.fileno())
            took.append(time.monotonic() - began)
    return statistics.median(took) * 1000
