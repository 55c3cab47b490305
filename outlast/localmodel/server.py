"""The owner's side of the local model: starts the child process, knows its address, ends it."""

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from outlast import telemetry
from outlast.errors import OutlastError
from outlast.localmodel import weights

_START_DEADLINE_S = 60.0
_STOP_DEADLINE_S = 2.0
_LAST_WORDS = 2000
_NOT_ITS_BUSINESS = ("OPENAI_API_KEY", "OUTLAST_API_KEYS", "OUTLAST_DATABASE_URL", "OUTLAST_WEBHOOK_SECRET")

log = telemetry.get("localmodel")


class ModelStartFailed(OutlastError):
    """The local model's process did not come up; carries the last lines of its stderr."""

    code = "model_start_failed"


class _Ready(msgspec.Struct):
    port: int


class LocalModel:
    """One child process that answers the OpenAI API on a loopback port.

    Start it on the main thread: Linux ties the child to the thread that started it. It dies with this process,
    however that ends. After a crash (`wait()` returns) call `start()` again; the port will be another one.
    """

    def __init__(self, path: Path | None = None, *, verbose: bool = False) -> None:
        """Serve the file at `path` (default: the pulled weights); `verbose` lets llama.cpp talk on our stderr."""
        self._path = path
        self._verbose = verbose
        self._process: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None
        self._port = 0
        self._said = b""

    @property
    def base_url(self) -> str:
        """Where the API is since the last start; no key is asked for."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def pid(self) -> int | None:
        """The child, while it lives."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def last_words(self) -> str:
        """The end of what the child last wrote to stderr."""
        return " ".join(self._said.decode(errors="replace").split())

    async def start(self) -> str:
        """Have the model running, and return its base URL; takes about a second.

        Raises `ModelNotInstalled` without engine or weights, `ModelStartFailed` if the process does not come up; then
        no process is left behind.
        """
        if self.pid is None:
            path = self._path or weights.require()
            process = await self._spawn(path)
            try:
                self._port = await self._await_ready(process)
            except BaseException:
                await self.stop()
                raise
            log.info("local model started", pid=process.pid, url=self.base_url)
        return self.base_url

    async def wait(self) -> int:
        """Return the exit code once the process has ended, be it by `stop()` or a crash (negative: by that signal)."""
        if self._process is None:
            raise RuntimeError("the local model was never started")
        return await self._process.wait()

    async def stop(self) -> None:
        """End the process and reap it; answers in progress are cut. Nothing happens if it is not running."""
        process, listener = self._process, self._listener
        if process is None or listener is None:
            return
        try:
            if process.stdin is not None:
                process.stdin.close()
            async with asyncio.timeout(_STOP_DEADLINE_S):
                await process.wait()
        except TimeoutError:
            pass  # it is killed below
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        await listener

    async def _spawn(self, path: Path) -> asyncio.subprocess.Process:
        # -P: a module in the working directory (the operator's agents) must not stand in for one of ours.
        command = [sys.executable, "-P", "-m", "outlast.localmodel", str(path), "--owner", str(os.getpid())]
        if self._verbose:
            command.append("--verbose")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, env=_env()
        )
        self._process, self._said = process, b""
        self._listener = asyncio.create_task(self._listen(process.stderr))
        return process

    async def _await_ready(self, process: asyncio.subprocess.Process) -> int:
        try:
            async with asyncio.timeout(_START_DEADLINE_S):
                line = await process.stdout.readline() if process.stdout is not None else b""
        except TimeoutError as error:
            raise self._failure(f"was not ready after {_START_DEADLINE_S:.0f} s") from error
        if line:
            return msgspec.json.decode(line, type=_Ready).port
        await self.stop()  # ended by itself: reap it and hear it out
        raise self._failure(f"ended with exit code {process.returncode}")

    def _failure(self, what: str) -> ModelStartFailed:
        return ModelStartFailed(
            f"The local model's process {what}. `python -m outlast.localmodel --verbose` shows more; without it, set "
            f"OPENAI_BASE_URL or OPENAI_API_KEY. It said: {self.last_words or 'nothing'}"
        )

    async def _listen(self, stderr: asyncio.StreamReader | None) -> None:
        """Keep the pipe empty, or a child that talks would stop for ever at a full one."""
        while stderr is not None and (chunk := await stderr.read(4096)):
            self._said = (self._said + chunk)[-_LAST_WORDS:]
            if self._verbose:
                sys.stderr.write(chunk.decode(errors="replace"))


def _env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_ITS_BUSINESS}
