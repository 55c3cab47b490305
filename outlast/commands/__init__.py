"""One module per command of `outlast`, each with a click `command`; and what they share."""

import sys

# httpx loads its own command line on import, and with it rich, for a quarter of the time `outlast status` takes.
# To be told that it is missing is something it is ready for.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None is how Python marks "not importable"
