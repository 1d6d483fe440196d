"""API keys: their form, how they are stored, and what each role may do."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping

import msgspec

from memtrace_server import problems, times
from memtrace_server.problems import Problem
from memtrace_server.store.protocol import Transaction

ROLES = ("reader", "writer", "admin")
"""Each may do what those before it may."""

UNAUTHORIZED = 401
"""The status of a request without a valid key."""

_LONGEST = 1_024  # characters that are looked at
_PATTERN = re.compile(r"mtk_[A-Za-z0-9]{32,}")


class Principal(msgspec.Struct, frozen=True):
    """The caller: an organisation, a role in it, and the key, which may be limited to one agent."""

    org: int
    org_id: str
    role: str
    key_id: str | None = None
    agent_id: str | None = None


def new_key() -> str:
    """Return a new key of 256 random bits."""
    return "mtk_" + secrets.token_hex(32)


def check_key(key: str) -> str:
    """Return a key that is well formed.

    Raises:
        ValueError: It is malformed; the message does not repeat it.
    """
    if not _PATTERN.fullmatch(key):
        raise ValueError("bootstrap_key: a key is mtk_ and at least 32 letters or digits")
    return key


def digest(key: str) -> bytes:
    """Return the SHA-256 under which a key is stored."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


def given_key(headers: Mapping[str, str]) -> str | None:
    """Return the key that headers carry, in either of the contract's two ways."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else None)


def given_digest(headers: Mapping[str, str]) -> bytes:
    """Return the digest of the key that headers carry.

    Raises:
        Problem: 401 without a key, or with one that is too long.
    """
    given = given_key(headers)
    if not given:
        raise problems.unauthorized("Send an API key, as x-api-key or as a bearer token")
    if len(given) > _LONGEST:
        raise unknown()
    return digest(given)


def authenticate(transaction: Transaction, headers: Mapping[str, str]) -> Principal:
    """Return who sent these headers, as of the request's own transaction: a revoked key stops at once.

    Raises:
        Problem: 401.
    """
    found = find(transaction, given_digest(headers))
    if isinstance(found, Problem):
        raise found
    return found


def find(transaction: Transaction, key: bytes) -> Principal | Problem:
    """Return the principal whose key has this digest, or the 401 that says why there is none."""
    found = transaction.key(key)
    if found is None or found.revoked_at is not None:
        return unknown()
    if found.expires_at is not None and found.expires_at <= times.now():
        return problems.unauthorized("This API key has expired")
    return Principal(found.org, found.org_id, found.role, found.id, found.agent_id)


def authorise(principal: Principal, needed: str) -> None:
    """Check that a principal has a role, or a higher one.

    Raises:
        Problem: 403.
    """
    if not may(principal, needed):
        raise problems.forbidden(f"This needs a key of role {needed}; yours is {principal.role}")


def may(principal: Principal, needed: str | None) -> bool:
    """Return whether a principal has a role, or a higher one; always True if none is needed."""
    return needed is None or ROLES.index(principal.role) >= ROLES.index(needed)


def unknown() -> Problem:
    """Return 401: the key is unknown, or was revoked."""
    return problems.unauthorized("Unknown or revoked API key")
