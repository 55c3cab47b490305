"""What a run may use: set at submit, changed here."""

from typing import Annotated

import msgspec

from outlast.api import body, reading, render
from outlast.api.edge import Edge
from outlast.api.http import Answer, Reply, Request
from outlast.api.schemas import MAX_COST_USD, MAX_TOKENS, nano_usd
from outlast.transitions import Afford


class BudgetBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits to change; null takes one away, what is absent stays."""

    max_cost_usd: Annotated[float, msgspec.Meta(gt=0, le=MAX_COST_USD)] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)] | msgspec.UnsetType | None = msgspec.UNSET


async def change(edge: Edge, request: Request) -> Answer:
    """POST /api/v1/runs/{job_id}/budget"""
    body.require_json(request)
    asked = reading.read(await body.read(request, edge.limits), BudgetBody)
    change = Afford(
        msgspec.UNSET if asked.max_cost_usd is msgspec.UNSET else nano_usd(asked.max_cost_usd),
        asked.max_tokens,
    )
    return Reply(200, render.status(await edge.engine.afford(request.caller, request.job_id, change)))
