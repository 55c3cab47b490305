"""Whether the upstreams of outlast.toml have what they need. Nothing of a key is said, and none is asked."""

from collections.abc import Sequence

from outlast import providers
from outlast.config import Settings
from outlast.doctor.findings import Finding, fine, note


def check(settings: Settings) -> Sequence[Finding]:
    """One finding for each upstream; a key may be missing here and be where the workers are."""
    return [
        fine("upstream", f"{name} is {upstream.kind} at {upstream.place}, {_aliases(name, settings)}.")
        if upstream.has_key
        else note(
            "upstream", providers.missing_key(name, upstream), "A worker with this file does not start so."
        )
        for name, upstream in settings.upstreams.items()
    ]


def _aliases(name: str, settings: Settings) -> str:
    aliases = [alias for alias, model in settings.models.items() if model.upstream == name]
    return f"for {', '.join(aliases)}" if aliases else "without an alias"
