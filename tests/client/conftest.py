from collections.abc import Iterator

import pytest

from outlast.client import Client
from tests.client.scripted import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer().serving() as scripted:
        yield scripted


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    with Client(server.url, retry_s=2, patience_s=5) as connected:
        yield connected
