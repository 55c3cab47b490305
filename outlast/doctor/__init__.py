"""Examines a store without changing it, and says what is wrong and what to do.

What it says of the data is of one moment. Whatever looks wrong is looked at a second time, a few seconds later, and
said only if it is still so: on a busy store much is about to be put right at any moment.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

from outlast.clock import Clock
from outlast.config import Settings
from outlast.doctor import database, folder, models, promises, stuck
from outlast.doctor.findings import Check, Finding, Level, fine, note, wrong
from outlast.store.choose import sight_of
from outlast.store.snapshot import Sight
from outlast.store.sqlite.sight import SqliteSight

__all__ = ["Finding", "Level", "examine"]

CONFIRM_S = 3.0
SHOWN = 10


async def examine(
    settings: Settings, clock: Clock, *, confirm_s: float = CONFIRM_S, newest: int = promises.NEWEST
) -> list[Finding]:
    """All that was found, in the order in which a person wants to know; the store's user may be one that only reads."""
    sight = sight_of(settings, clock)
    async with sight.look() as snapshot:
        lag = snapshot.lag
        if lag.missing:
            return [
                wrong(
                    "schema",
                    f"It is {lag.version or 'not there'}, and {lag.newest} is needed.",
                    "outlast migrate",
                )
            ]
        found = [fine("schema", f"It is {lag.version}, up to date.")]
        found += await _around(settings, sight)(snapshot)
        found += models.check(settings)
        what = await promises.summary(snapshot, newest)
    kept = await _confirmed(sight, promises.checks(newest), confirm_s)
    going = await _confirmed(sight, stuck.CHECKS, confirm_s)
    if not any(finding.level is Level.WRONG for finding in kept):
        found.append(
            fine("promise", f"All {len(promises.checks()) - len(kept)} that were checked are kept, {what}.")
        )
    if not any(finding.about == "stuck" for finding in going):
        found.append(fine("stuck", "Nothing is."))
    return [*found, *kept, *going]


def _around(settings: Settings, sight: Sight) -> Check:
    if isinstance(sight, SqliteSight):
        return partial(folder.check, path=sight.path)
    return partial(database.check, listens=settings.database_listen)


async def _confirmed(sight: Sight, checks: Sequence[Check], confirm_s: float) -> list[Finding]:
    """What the checks find, and of what is wrong only that which they find again; of each not all if it is much."""
    async with sight.look() as snapshot:
        first = {check: await check(snapshot) for check in checks}
    doubtful = [check for check, found in first.items() if any(f.level is Level.WRONG for f in found)]
    still: set[tuple[str, str]] = set()
    if doubtful:
        await asyncio.sleep(confirm_s)
        async with sight.look() as snapshot:
            still = {finding.identity for check in doubtful for finding in await check(snapshot)}
    sure = [
        [finding for finding in found if finding.level is not Level.WRONG or finding.identity in still]
        for found in first.values()
    ]
    return [finding for found in sure for finding in _shortened(found)]


def _shortened(found: Sequence[Finding]) -> list[Finding]:
    more = len(found) - SHOWN
    return [*found[:SHOWN], *([note(found[0].about, f"And {more} more like the last.")] if more > 0 else [])]
