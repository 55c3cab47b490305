"""Where tests keep their files: in memory, where there is plenty of it.

What is flushed there survives `kill -9` as it would on a disk, and nobody waits for a disk. A test that needs one that
fills up mounts it.
"""

import os
import shutil
from pathlib import Path

FREE = 4 * 1024**3
MEMORY = Path("/dev/shm")


def room() -> Path | None:
    """A folder in memory in which programs may be started; null if there is none, or little of it is free."""
    if not MEMORY.is_dir() or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free > FREE else None
