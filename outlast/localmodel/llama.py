"""The wall around xllamacpp, which has no types: what we set in llama.cpp's OpenAI-compatible server, and why.

Only the child process may call `serve`; it loads 100 MB of native code and starts threads that end with the process.
What the server does with requests (seen with xllamacpp 2026.10):

- `/v1/chat/completions`, `/v1/responses`, `/v1/messages`, streaming and not. `tools` and `tool_choice` are ignored:
  this model's template has no place for them, so the answer is text.
- A prompt beyond the context is refused with 400, `exceed_context_size_error`.
- Calls are answered one at a time, in order of arrival; the others wait, however many.
- A caller who hangs up: a streamed call ends with its next token, another within a second or so, one that still
  waits when its turn comes.
"""

import importlib
import os
from pathlib import Path
from typing import Protocol

from outlast.localmodel.weights import DEMO_ALIAS

_ERRORS, _INFO = 1, 3


class _Sampling(Protocol):
    temp: float
    dry_multiplier: float


class _Threads(Protocol):
    n_threads: int


class _Model(Protocol):
    path: str


class _Params(Protocol):
    model: _Model
    model_alias: set[str]
    hostnames: list[str]
    port: int
    sampling: _Sampling
    cpuparams: _Threads
    cpuparams_batch: _Threads
    n_ctx: int
    n_predict: int
    n_parallel: int
    cache_ram_mib: int
    warmup: bool
    fit_params: bool
    verbosity: int
    ui: bool
    endpoint_slots: bool
    endpoint_metrics: bool
    cors_origins: str
    cors_credentials: bool


class Served(Protocol):
    """A running server; it ends with the process."""

    @property
    def listening_address(self) -> str:
        """`http://127.0.0.1:PORT`."""
        ...


class _Xllamacpp(Protocol):
    def CommonParams(self) -> _Params: ...
    def Server(self, params: _Params, /) -> Served: ...


def serve(weights: Path, *, verbose: bool) -> Served:
    """Serve the weights on a free loopback port; returns once the model is loaded, or raises RuntimeError."""
    # Read when the OpenMP library is loaded. Its default is to spin at each of the many barriers of a token: on a
    # busy two-core machine that turned 60 tokens a second into 2.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # The module's functions are untyped; from here on the protocol above says what they are.
    engine: _Xllamacpp = importlib.import_module("xllamacpp")
    return engine.Server(_params(engine, weights, verbose))


def _params(engine: _Xllamacpp, weights: Path, verbose: bool) -> _Params:
    params = engine.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {DEMO_ALIAS}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.verbosity = _INFO if verbose else _ERRORS
    _set_answers(params)
    _set_size(params)
    _close_doors(params)
    return params


def _set_answers(params: _Params) -> None:
    """Defaults for what a request leaves open. Without DRY so small a model repeats itself to the end."""
    params.sampling.temp = 0.0
    params.sampling.dry_multiplier = 0.8
    params.n_predict = 160


def _set_size(params: _Params) -> None:
    params.n_ctx = 2048
    # Two slots gave 1.2 times the tokens on two cores. But there an unstreamed call whose caller has gone is noticed
    # only when the other slot is silent for a second, so a cancelled run went on to its last token.
    params.n_parallel = 1
    # The server, its agents and a model that shares their machine: it takes half, and more than four gain nothing.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = min(4, max(1, _cpus() // 2))
    params.cache_ram_mib = 0  # default 8 GiB
    params.warmup = False
    params.fit_params = False


def _close_doors(params: _Params) -> None:
    """Nothing but the API: no page, no look at others' prompts, no answer that a web page may read."""
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_metrics = True
    params.cors_origins = "http://127.0.0.1"
    params.cors_credentials = False


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
