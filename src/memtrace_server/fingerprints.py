"""Hashes that equal memories share, by which a duplicate is found."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from memtrace_server import times

_ALSO_COMPARED = ("importance", "parent_id", "supersedes", "ttl")
_SORTED = msgspec.json.Encoder(order="sorted")


def of_request(request: Mapping[str, Any]) -> bytes:
    """Return a hash that equal memories share: of the `dedup_key`, or of all fields that a caller can set.

    An explicit time is one of these fields: an import may have the same words at several times.

    Args:
        request: What is asked for, with the contract's defaults and without nulls.
    """
    if "dedup_key" in request:
        same = [request["agent_id"], request["dedup_key"]]
    else:
        moment = times.parse(request["time"]) if "time" in request else None  # in whatever zone it is written
        same = [
            request["agent_id"], request.get("session_id"), request["memory_type"], request["event_type"],
            request["content"], request.get("metadata"), moment,
        ]  # fmt: skip
        more = {name: request[name] for name in _ALSO_COMPARED if name in request}
        if request.get("tags"):
            more["tags"] = sorted(set(request["tags"]))
        if more:
            same.append(more)
    return hashlib.blake2b(_SORTED.encode(same), digest_size=16).digest()


def of_memory(doc: str, created_at: int, expires_at: int | None) -> tuple[bytes, bytes]:
    """Return the hashes that the request for a stored memory can have had: without a time, and with its own.

    Args:
        doc: The memory as responses have it; its organisation does not matter.
        created_at: When it was stored (ns).
        expires_at: When it expires (ns), if it does.
    """
    memory: dict[str, Any] = msgspec.json.decode(doc)
    if expires_at is not None:
        memory["ttl"] = (expires_at - created_at) // times.SECOND
    with_time = of_request(memory)
    del memory["time"]
    return of_request(memory), with_time
