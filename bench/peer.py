"""PraisonAI's own jobs server, in an environment of its own.

It is measured at its best: beside what its documents install it gets the event loop and the HTTP parser that
Outlast has (uvicorn's `standard` extra), without which it answers about half as many requests.
"""

import subprocess
import sys
from pathlib import Path

import platformdirs

from bench.server import Recipe

VERSION = "4.7.19"
MEMORY = "PraisonAI, memory"
SQLITE = "PraisonAI, SQLite"
_HERE = Path(__file__).resolve().parent
FOLDER = Path(platformdirs.user_cache_dir("outlast-bench", appauthor=False))
"""Kept from one bench to the next, and shared by all checkouts."""
_VENV = FOLDER / f"praisonai-{VERSION}"
_BODY = b'{"prompt": "Say hello."}'
# Without it the peer asks the network for a price list at its first job.
_ENV = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def install() -> None:
    """Install the peer unless that is done; takes a minute or two and 320 MB."""
    done = _VENV / "installed"
    if done.exists():
        return
    print(f"Installing praisonai[api]=={VERSION} into {_VENV} …", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(_VENV)], check=True)
    packages = [f"praisonai[api]=={VERSION}", "uvicorn[standard]"]
    subprocess.run([str(_VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages], check=True)
    done.touch()


def in_memory() -> Recipe:
    """The peer as it starts by default: jobs are lost when it ends."""
    return Recipe(MEMORY, _launch(), _BODY, _ENV)


def on_sqlite() -> Recipe:
    """The peer with `PRAISONAI_JOBS_DB_PATH`."""
    return Recipe(SQLITE, [*_launch(), "{data}/jobs.sqlite3"], _BODY, _ENV)


def _launch() -> list[str]:
    return [str(_VENV / "bin" / "python"), str(_HERE / "peer_launcher.py"), "{port}"]
