"""Following memories in the order in which they are stored."""

from __future__ import annotations

import hmac
import secrets

from memtrace_server.messages import Response
from memtrace_server.service import filters
from memtrace_server.service.call import Call
from memtrace_server.service.pages import fitting, join

_NONCE = 8  # bytes


def tail_memories(call: Call) -> Response:
    """Return the memories stored after a position, and the position to continue from."""
    hidden = call.position(bytes)
    if hidden is not None:
        after = _shown(call, hidden)
    elif call.parameters["start"] == "beginning":
        after = 0
    else:
        after = call.transaction.tail_end(call.org)
    wanted = filters.from_parameters({**call.parameters, "include_superseded": True}, call.now)
    tail = call.transaction.tail(call.org, wanted, call.now, after=after, limit=call.parameters["limit"])
    found = fitting(tail.found)
    position = tail.end if len(found) == len(tail.found) else tail.positions[len(found) - 1]
    has_more = position < tail.last
    cursor = call.cursor(_hidden(call, position))
    body = join("memories", found, {"has_more": has_more, "next_cursor": cursor})
    return Response(status=200, body=body, resume=None if found or has_more else cursor)


def _hidden(call: Call, position: int) -> bytes:
    """Hide a position, as it would reveal when another organisation last stored a memory."""
    nonce = secrets.token_bytes(_NONCE)
    return nonce + (position ^ _mask(call, nonce)).to_bytes(8)


def _shown(call: Call, hidden: bytes) -> int:
    return int.from_bytes(hidden[_NONCE:]) ^ _mask(call, hidden[:_NONCE])


def _mask(call: Call, nonce: bytes) -> int:
    return int.from_bytes(hmac.digest(call.transaction.secret(), b"tail" + nonce, "sha256")[:8])
