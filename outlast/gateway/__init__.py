"""The one way from an agent to a model: an OpenAI-compatible endpoint on loopback, inside the worker.

gateway = Gateway(engine, settings, clock)
await gateway.start()
grant = gateway.grant(run, attempt_id, model, lambda: lease.is_held)   # goes to the agent as base URL and API key
await gateway.settle(attempt_id)   # its calls in flight are in the journal: the run may go on in another attempt
gateway.revoke(attempt_id)
await gateway.stop()
"""

from outlast.gateway.app import Gateway
from outlast.gateway.grants import Grant
from outlast.gateway.patience import Patience

__all__ = ["Gateway", "Grant", "Patience"]
