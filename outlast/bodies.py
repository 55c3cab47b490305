"""Requests and results as bytes: small ones stand in their run's row, large ones apart, under their hash."""

from outlast.errors import RunNotFound
from outlast.runs import Body
from outlast.store.protocol import INLINE_MAX, Store


class Bodies:
    """Where the bytes are, so that nobody else needs to know."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, tenant: str, data: bytes) -> Body:
        """Bytes for a run that is about to be written: large ones are on disk when this returns."""
        if len(data) <= INLINE_MAX:
            return Body(len(data), data)
        return Body(len(data), None, await self._store.put_blob(tenant, data))

    async def read(self, tenant: str, body: Body) -> bytes:
        """The bytes of a body, wherever they are kept."""
        if body.inline is not None:
            return body.inline
        assert body.hash is not None
        data = await self._store.blob(tenant, body.hash)
        if data is None:
            raise RunNotFound(f"The stored bytes {body.hash.hex()} are gone; their run was deleted.")
        return data
