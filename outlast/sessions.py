"""Sessions: runs that belong together, and how many of them go at one time."""

from outlast.errors import SessionNotFound, quoted
from outlast.runs import Caller
from outlast.store.protocol import Page, SessionListing, SessionSeen, Store


class Sessions:
    """What clients do with sessions; they come into being with their first run."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, caller: Caller, session_id: str) -> SessionSeen:
        """A session of the caller's; `SessionNotFound` if nothing was ever submitted to it or said of it."""
        found = await self._store.session(caller.tenant, session_id)
        if found is None:
            raise SessionNotFound(
                f"There is no session {quoted(session_id)}; the first run with that session_id makes it."
            )
        return found

    async def page(self, caller: Caller, page: Page) -> SessionListing:
        """A page of the caller's sessions, newest first."""
        return await self._store.sessions(caller.tenant, page)

    async def limit(self, caller: Caller, session_id: str, max_running: int | None) -> SessionSeen:
        """How many of the session's runs go at one time; null is as many as in any session.

        It decides who gets a place from now on: runs that have one keep it, runs that wait for one get it at once if
        there is room now, and runs that have not begun queue up for one if there was no limit before.
        """
        await self._store.limit_session(caller.tenant, session_id, max_running)
        return await self.find(caller, session_id)
