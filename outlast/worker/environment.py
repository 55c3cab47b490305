"""What an agent sees of the server's environment: no more than it needs, and none of its secrets.

The fork server and the hosts are exec'ed with `bare`, so no agent's memory and no `/proc/<pid>/environ` of theirs
ever held a key of the server.
"""

import os
from collections.abc import Mapping

from outlast.runners.protocol import Job

_NEEDED = frozenset((
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV",
    "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR", "NVM_DIR", "NODE_PATH", "UV_CACHE_DIR", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "OPENBLAS_L", "_SIZE", "SYSTEMROOT",
    "__CF_USER_TEXT_ENCODING",
))  # fmt: skip
_NEEDED_KINDS = ("LC_",)

_QUIET = {
    "DO_NOT_TRACK": "1",
    "AGNO_TELEMETRY": "false",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "PRAISONAI_TELEMETRY_DISABLED": "true",
}
"""The switches that keep frameworks from reporting to their makers."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def bare(server: Mapping[str, str]) -> dict[str, str]:
    """The environment of the processes that agents run in or are forked from."""
    kept = {k: v for k, v in server.items() if k in _NEEDED or k.startswith(_NEEDED_KINDS)}
    direct = [*filter(None, (server.get("NO_PROXY") or server.get("no_proxy") or "").split(",")), *_LOOPBACK]
    past_proxies = ",".join(dict.fromkeys(direct))
    return {**kept, **_QUIET, "NO_PROXY": past_proxies, "no_proxy": past_proxies, "PYTHONUNBUFFERED": "1"}


PROMPT_MAX = 100_000
"""Bytes; a prompt that is longer than a variable may be has to be read from stdin."""
_OF_THE_FORK_SERVER = ("NO_PROXY", "no_proxy", "OUTLAST_MARK")


def of_program(job: Job, ours: Mapping[str, str]) -> dict[bytes, bytes]:
    """What a program finds, `ours` being the environment of the attempt's process.

    The operator's agent finds that, with what they set for it, and its prompt. The local user's own program finds all
    that they have, but the way to a model is the gateway here too, and their own switches for telemetry count.
    """
    granted = of_attempt(job, ours["TMPDIR"])
    if job.request.program is not None and job.request.program.is_local:
        del granted["TMPDIR"]
        granted |= {name: ours[name] for name in _OF_THE_FORK_SERVER if name in ours}
        return {**_encoded({**_QUIET, "PYTHONUNBUFFERED": "1"}), **job.env, **_encoded(granted)}
    prompt = job.request.prompt
    if len(prompt.encode()) <= PROMPT_MAX and "\0" not in prompt:
        granted["OUTLAST_PROMPT"] = prompt
    return {**_encoded(ours), **job.env, **_encoded(granted)}


def _encoded(variables: Mapping[str, str]) -> dict[bytes, bytes]:
    return {os.fsencode(name): os.fsencode(value) for name, value in variables.items()}


def of_attempt(job: Job, scratch: str) -> dict[str, str]:
    """What an isolated agent finds in its environment on top: its model, its run, a folder for temporary files."""
    seen = {"OUTLAST_RUN_ID": job.run_id, "OUTLAST_ATTEMPT": str(job.attempt), "TMPDIR": scratch}
    if job.base_url is not None and job.token is not None:
        seen |= {
            "OPENAI_BASE_URL": job.base_url,
            "OPENAI_API_BASE": job.base_url,
            "OPENAI_API_KEY": job.token,
            "ANTHROPIC_BASE_URL": job.base_url.removesuffix("/v1"),
            "ANTHROPIC_API_KEY": job.token,
        }
    if job.run_url is not None and job.token is not None:
        seen |= {"OUTLAST_RUN_URL": job.run_url, "OUTLAST_RUN_TOKEN": job.token}
    return seen
