"""What a call costs: the operator's own price, else what genai-prices knows of the provider at the call's address.

Costs are whole billionths of a dollar (nano-USD): at 0.01 dollars for a million tokens, one token is ten of them, so
rounding takes less than one of them from a call. What is not known is None, never zero. The library is loaded when a
call goes to a provider that it may know (15 MiB, a quarter of a second, on a thread); it asks no network.
"""

import asyncio
import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from outlast.gateway.dialect import EMBEDDINGS
from outlast.gateway.upstream import Route
from outlast.gateway.usage import Tokens
from outlast.providers import PriceConfig

if TYPE_CHECKING:
    import genai_prices

COST_MAX = 10**15
"""A million dollars: what is more than that for one call is a mistake in a price."""
_NANO_PER_USD = 10**9
_NANO_PER_MTOK = Decimal(_NANO_PER_USD) / 10**6


class Prices:
    """Prices calls: `begin` when one is sent, `ready` when it is answered, then `cost`, which is plain arithmetic."""

    def __init__(self, own: Mapping[str, PriceConfig]) -> None:
        """`own` are the operator's, by alias or by the provider's name for the model."""
        self._own = own
        self._loading: asyncio.Task[None] | None = None

    def begin(self, route: Route) -> None:
        """A call is sent on this route: load what pricing it will take while the provider thinks."""
        if self._loading is None and self._own_price(route) is None and _may_be_known(route):
            self._loading = asyncio.create_task(asyncio.to_thread(_load))

    async def ready(self) -> None:
        """Until what was begun is there."""
        if self._loading is not None and not self._loading.done():
            await asyncio.shield(self._loading)

    def cost(self, route: Route, path: str, tokens: Tokens, at: int) -> int | None:
        """What these tokens cost on this route at this time (milliseconds since the epoch), in nano-USD."""
        if route.target.is_local:
            return 0
        output = 0 if path == EMBEDDINGS else tokens.output
        if tokens.input is None or output is None:
            return None
        own = self._own_price(route)
        cost = _by_own(own, tokens, output) if own else self._by_library(route, tokens, output, at)
        return cost if cost is not None and cost <= COST_MAX else None

    def _own_price(self, route: Route) -> PriceConfig | None:
        return self._own.get(route.alias or "") or self._own.get(route.model or "")

    def _by_library(self, route: Route, tokens: Tokens, output: int, at: int) -> int | None:
        if route.model is None or not _may_be_known(route):
            return None
        import genai_prices

        usage = genai_prices.Usage(
            input_tokens=tokens.input,
            output_tokens=output,
            cache_read_tokens=tokens.cache_read,
            cache_write_tokens=tokens.cache_write,
            cache_write_1h_tokens=tokens.cache_write_1h,
        )
        return _looked_up(usage, route, route.model, datetime.fromtimestamp(at / 1000, UTC))


def _load() -> None:
    """Import the library, and have it read its prices, which it does when it is first asked for one."""
    import genai_prices

    try:
        genai_prices.calc_price(genai_prices.Usage(), "gpt-4o-mini", provider_id="openai")
    except LookupError:
        pass  # a release that no longer knows it has read them as well


def _by_own(price: PriceConfig, tokens: Tokens, output: int) -> int:
    read, written = tokens.cache_read or 0, tokens.cache_write or 0
    fresh = max(0, (tokens.input or 0) - read - written)
    return _rounded(
        _times(fresh, price.input_per_mtok)
        + _times(read, _or(price.cache_read_per_mtok, price.input_per_mtok))
        + _times(written, _or(price.cache_write_per_mtok, price.input_per_mtok))
        + _times(output, price.output_per_mtok)
    )


def _looked_up(usage: "genai_prices.Usage", route: Route, model: str, at: datetime) -> int | None:
    try:
        found = _calculated(usage, route, model, at)
    except (LookupError, ValueError):
        return None  # a provider or a model it does not know, or a usage that makes no sense for it
    if usage.output_tokens and found.model_price.output_mtok is None:
        return None  # the library would leave out what it has no price for
    return _rounded(found.total_price * _NANO_PER_USD)


def _calculated(
    usage: "genai_prices.Usage", route: Route, model: str, at: datetime
) -> "genai_prices.types.PriceCalculation":
    import genai_prices

    if route.target.prices is not None:
        return genai_prices.calc_price(
            usage, model, provider_id=route.target.prices, genai_request_timestamp=at
        )
    url = route.target.base_url
    return genai_prices.calc_price(usage, model, provider_api_url=url, genai_request_timestamp=at)


def _may_be_known(route: Route) -> bool:
    """A provider that people pay has a name; what is at a bare address is somebody's own."""
    if route.target.prices is not None:
        return True
    host = urlsplit(route.target.base_url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." in host
    return False


def _times(tokens: int, usd_per_mtok: float) -> Decimal:
    # As the operator wrote it: 0.1 as a float is a little more.
    return tokens * Decimal(str(usd_per_mtok)) * _NANO_PER_MTOK


def _or(price: float | None, other: float) -> float:
    return other if price is None else price


def _rounded(cost: Decimal) -> int:
    return int(cost.to_integral_value())
