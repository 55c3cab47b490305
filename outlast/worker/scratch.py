"""The folder for attempts' temporary files: of one worker alone, and empty when it begins."""

import os
import shutil
import stat
import tempfile
from pathlib import Path


def make(folder: str) -> Path:
    """Make it; what a killed worker left in it is removed. Another one each time if somebody else has its name."""
    place = Path(tempfile.gettempdir()) / f"outlast-{os.getuid()}-{folder[:8]}"
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="outlast-"))
    for old in place.iterdir():
        shutil.rmtree(old, ignore_errors=True)
    return place


def remove(place: Path) -> None:
    """Remove it with all that is in it, as far as that can be done."""
    shutil.rmtree(place, ignore_errors=True)
