"""How a process is known to be ours, whatever it has become.

Two signs, both inherited by everything a process starts. The mark is an environment variable that names the data
folder and the attempt; it is there for people, and for the sweep. The brand is a resource limit that limits nothing
(files of 4 EiB) and whose value names the data folder: it stays on a process that left its session and was started
with an empty environment. A process that wants to lose both can; agents are not jailed, they are tidied up.
"""

import ctypes
import hashlib
import os
import resource
from pathlib import Path

VARIABLE = "OUTLAST_MARK"
_WIDTH = 72
_BRAND = 1 << 62
_BRAND_BITS = 56
_libc = ctypes.CDLL(None)
_libc.getenv.restype = ctypes.c_void_p


def folder_id(data_dir: Path) -> str:
    """Names a data folder on this machine: it moves with the folder, a copy gets another."""
    stat = data_dir.stat()
    return hashlib.blake2b(f"{stat.st_dev}:{stat.st_ino}".encode(), digest_size=8).hexdigest()


def mark(folder: str, bearer: str) -> str:
    """The value of `OUTLAST_MARK`; always of one width, so that one can be written over another."""
    return f"{folder}:{bearer}".ljust(_WIDTH, ".")[:_WIDTH]


def wear(value: str) -> None:
    """Make `value` this process's mark: in `/proc/<pid>/environ` too, which shows the block it was exec'ed with.

    That block is written over in place. A fork of a marked process can so be told from it without an exec.
    """
    address = _libc.getenv(VARIABLE.encode())
    if address and len(ctypes.string_at(address)) == len(value):
        ctypes.memmove(address, value.encode(), len(value))
    os.environ[VARIABLE] = value


def brand(folder: str) -> None:
    """Put the folder's brand on this process and all it will start, unless the files' size is limited already."""
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY:
        value = _brand_of(folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (value, value))


def bears(pid: int, folder: str) -> bool:
    """Whether the process bears the folder's mark or brand; False for what cannot be looked at.

    Call it in a thread: to read the environment of a process that forks all the time can take long.
    """
    return bears_brand(pid, folder) or _bears_mark(pid, folder)


def _bears_mark(pid: int, folder: str) -> bool:
    try:
        return f"{VARIABLE}={folder}:".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def bears_brand(pid: int, folder: str) -> bool:
    """Whether the process bears the folder's brand."""
    try:
        limits = Path(f"/proc/{pid}/limits").read_bytes()
    except OSError:
        return False
    return f" {_brand_of(folder)} ".encode() in limits


def _brand_of(folder: str) -> int:
    return _BRAND + (int(folder, 16) & ((1 << _BRAND_BITS) - 1))
