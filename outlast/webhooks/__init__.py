"""Delivers the webhooks that finished runs owe: at least once, out of the outbox, never inside a run's slot."""
