"""A server of one's own for a moment: a process, a free port and a folder that are gone afterwards."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import httpx

from outlast.clock import SystemClock
from outlast.commands.liveline import LiveLine
from outlast.config import Settings
from outlast.errors import OutlastError

_START_S = 60.0
_STOP_S = 15.0
_LOOK_EVERY_S = 0.05
_LAST_WORDS = 2000
_KEPT = frozenset({"OUTLAST_MODEL_CACHE"})


class ServerDidNotStart(OutlastError):
    """The server ended, or did not become ready in time."""

    code = "server_did_not_start"


class ScratchServer:
    """`outlast serve` with the operator's model and nothing else of their settings. Not reachable from elsewhere."""

    def __init__(self, settings: Settings) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="outlast-demo-", ignore_cleanup_errors=True)
        self.root = Path(self._folder.name)
        self.api_key = secrets.token_urlsafe()
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._command = [
            sys.executable, "-m", "outlast", "serve",
            "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(self.root / "data"),
        ]  # fmt: skip
        self._env = _environment(settings, self.api_key, self.root)
        self._log = self.root / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, _leave)  # a plain death would leave the server behind
        with self._log.open("wb") as log:
            # A session of its own: a Ctrl-C is for us, and we end the server ourselves.
            self._process = subprocess.Popen(
                self._command, cwd=self.root, env=self._env, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            self._await_ready(self._process)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        clock = SystemClock()
        deadline = clock.monotonic() + _START_S
        with LiveLine() as line, httpx.Client(base_url=self.url, trust_env=False) as http:
            while not _answers(http):
                if process.poll() is not None or clock.monotonic() > deadline:
                    words = self._log.read_text(errors="replace")[-_LAST_WORDS:]
                    raise ServerDidNotStart(f"The server did not start. Its last words:\n{words}")
                line.show("starting a server")
                time.sleep(_LOOK_EVERY_S)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/ready").is_success
    except httpx.TransportError:
        return False


def _environment(settings: Settings, api_key: str, root: Path) -> Mapping[str, str]:
    model = {
        "OPENAI_API_KEY": settings.openai_api_key,
        "OPENAI_BASE_URL": settings.openai_base_url,
        "OUTLAST_MODEL": settings.model,
    }
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OUTLAST_", "PRAISONAI_")) or name in _KEPT
    }
    return {
        **kept,
        **{name: value for name, value in model.items() if value},
        "OUTLAST_API_KEYS": api_key,
        "OUTLAST_GRACE_S": "1",
        "TMPDIR": str(root),
    }


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
