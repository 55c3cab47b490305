import sys
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import pytest

from outlast.cli import main
from tests.client.scripted import ScriptedServer


class Finished(NamedTuple):
    code: int | str | None
    out: str
    err: str


class Outlast(Protocol):
    def __call__(self, *args: str) -> Finished: ...


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer().serving() as scripted:
        yield scripted


@pytest.fixture
def outlast(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Outlast:
    """`outlast ARGS`, in this process, against the scripted server."""
    monkeypatch.setenv("OUTLAST_URL", server.url)
    monkeypatch.delenv("OUTLAST_API_KEY", raising=False)

    def run(*args: str) -> Finished:
        monkeypatch.setattr(sys, "argv", ["outlast", *args])
        with pytest.raises(SystemExit) as ended:
            main()
        return Finished(ended.value.code, *capsys.readouterr())

    return run
