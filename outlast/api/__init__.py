"""The HTTP edge: what the wire says, and nothing about how runs are kept or carried out."""

from outlast.api.app import create_api

__all__ = ["create_api"]
