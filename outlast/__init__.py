"""Agent runs that outlast crashes: submit over HTTP, come back for the result."""

__version__ = "0.1.0"

__all__ = ["__version__"]
