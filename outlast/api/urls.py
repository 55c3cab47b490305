"""The absolute addresses in our answers, which must not be of a stranger's choosing.

From `OUTLAST_PUBLIC_URL`; else from the Host header, believed only if it names this machine or the address the
request arrived at; else that address itself.
"""

from collections.abc import Callable
from functools import lru_cache

from outlast.api.auth import HOST, is_loopback
from outlast.api.http import Request

Address = tuple[str, int]
_ANY = frozenset({"0.0.0.0", "::", ""})


class Urls:
    """Makes the addresses of runs for one server."""

    def __init__(self, public_url: str | None, bound: Callable[[], Address | None]) -> None:
        self._public = public_url.rstrip("/") if public_url else None
        self._bound = bound

    def run(self, request: Request, run_id: str) -> str:
        """Where a run is polled."""
        return f"{self.base(request)}/api/v1/runs/{run_id}"

    def base(self, request: Request) -> str:
        """What our paths are appended to; no slash at its end."""
        if self._public is not None:
            return self._public
        scope = request.scope
        server: tuple[str, int | None] | None = scope.get("server")
        return _base(
            scope.get("scheme", "http"),
            request.header(b"host") or "",
            scope.get("root_path", ""),
            self._address(server),
        )

    def _address(self, server: tuple[str, int | None] | None) -> Address | None:
        if server is not None and server[1] is not None:
            return server[0], server[1]
        return self._bound()


@lru_cache(maxsize=256)
def _base(scheme: str, host: str, root_path: str, address: Address | None) -> str:
    authority = host if _believable(scheme, host, address) else _written(address)
    return f"{scheme}://{authority}{root_path.rstrip('/')}"


def _believable(scheme: str, host: str, address: Address | None) -> bool:
    match = HOST.fullmatch(host)
    if match is None:
        return False
    name, port = match.groups()
    if is_loopback(name):
        return True
    usual = 443 if scheme == "https" else 80
    return address is not None and (name.strip("[]"), int(port or usual)) == address


def _written(address: Address | None) -> str:
    host, port = address or ("127.0.0.1", 8005)
    if host in _ANY:
        host = "127.0.0.1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
