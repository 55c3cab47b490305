"""Who may call a model: one token for each attempt, good while the attempt holds its run.

Tokens are kept in memory only. One carries its attempt's id and a signature of this process, so that a revoked token
can be told from a made-up one without remembering it.
"""

import asyncio
import hmac
import os

import msgspec

_REASONS_KEPT = 1000


class Grant(msgspec.Struct, frozen=True):
    """What an agent gets to reach a model with."""

    base_url: str
    token: str


class Holder:
    """An attempt that may call, and its calls in flight."""

    def __init__(self, run_id: str, attempt_id: str, model: str | None) -> None:
        self.run_id = run_id
        self.attempt_id = attempt_id
        self.model = model
        """What the name `default` means for this run."""
        self.calls: set[asyncio.Task[None]] = set()
        self.is_over = False
        """The attempt may call no more."""

    def cut(self) -> None:
        """Abort the calls in flight; their connections to the provider are closed at once."""
        for call in tuple(self.calls):
            call.cancel()


class Grants:
    """The tokens of one gateway."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._by_token: dict[str, Holder] = {}
        self._tokens: dict[str, str] = {}
        self._reasons: dict[str, str] = {}

    def issue(self, run_id: str, attempt_id: str, model: str | None) -> str:
        """A token for this attempt; asked twice, the same one."""
        token = self._sign(attempt_id)
        self._by_token.setdefault(token, Holder(run_id, attempt_id, model))
        self._tokens[attempt_id] = token
        return token

    def revoke(self, attempt_id: str) -> Holder | None:
        """From here on the token is refused; the holder is given back for its calls in flight."""
        token = self._tokens.pop(attempt_id, None)
        if token is None:
            return None
        holder = self._by_token.pop(token)
        holder.is_over = True
        return holder

    def revoke_all(self) -> list[Holder]:
        """As `revoke`, for everybody."""
        return [holder for attempt_id in tuple(self._tokens) if (holder := self.revoke(attempt_id))]

    def holder(self, token: str) -> Holder | None:
        """Who this token belongs to, while it is good."""
        return self._by_token.get(token)

    def was_issued(self, token: str) -> bool:
        """Whether this gateway ever gave the token out."""
        attempt_id = token.removeprefix("sk-outlast-").rpartition("-")[0]
        return hmac.compare_digest(token.encode(), self._sign(attempt_id).encode())

    def blame(self, holder: Holder, reason: str) -> None:
        """Remember why a call of this attempt failed, also for a while after the attempt."""
        self._reasons.pop(holder.attempt_id, None)
        self._reasons[holder.attempt_id] = reason
        if len(self._reasons) > _REASONS_KEPT:
            del self._reasons[next(iter(self._reasons))]

    def reason(self, attempt_id: str) -> str | None:
        """Why the last call of this attempt that failed did so."""
        return self._reasons.get(attempt_id)

    def _sign(self, attempt_id: str) -> str:
        # Some agents want keys to look like OpenAI's.
        signature = hmac.digest(self._secret, attempt_id.encode(), "sha256").hex()[:32]
        return f"sk-outlast-{attempt_id}-{signature}"
