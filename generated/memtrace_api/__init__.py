"""The low-level client of the Memtrace API, made from openapi.yaml by `make regen`. Never edit it by hand."""

from .client import AuthenticatedClient, Client

__all__ = ("AuthenticatedClient", "Client")
