"""Cursors: signed places in an order.

A cursor says "go on after this", so it holds while others write and delete. It is signed for one
organisation: one that was made up, changed, or taken from another organisation is refused.
"""

from __future__ import annotations

import hmac

from attrs import field, frozen

from memtrace_server import problems
from memtrace_server.ids import base32, number
from memtrace_server.problems import Detail

_PLACE = 13  # digits of a 64-bit number
_SIGNATURE = 10
_OFFSET = 1 << 63


@frozen
class Cursors:
    """The cursors of one organisation, signed with the store's secret."""

    _secret: bytes = field(repr=False)
    _org: int

    def memory(self, rank: int, seq: int) -> str:
        """The place after a memory, ordered by `rank` (its time in ns, or its score), then by its row."""
        return self._sign(base32(rank + _OFFSET, _PLACE) + base32(seq, _PLACE))

    def read_memory(self, cursor: str, place: str) -> tuple[int, int]:
        """The rank and the row that a cursor names.

        Raises:
            Problem: 400, saying that the cursor in this place (query or body) is none of ours.
        """
        text = self._verify(cursor, place)
        return number(text[:_PLACE]) - _OFFSET, number(text[_PLACE:])

    def session(self, created_at: int, session_id: str) -> str:
        """The place after a session, ordered by the time (ns) it was created, then by its id."""
        return self._sign(f"{base32(created_at + _OFFSET, _PLACE)}.{session_id}")

    def read_session(self, cursor: str) -> tuple[int, str]:
        """The creation time (ns) and the id that a cursor names.

        Raises:
            Problem: 400.
        """
        text = self._verify(cursor, "query")
        return number(text[:_PLACE]) - _OFFSET, text[_PLACE + 1 :]

    def agent(self, agent_id: str) -> str:
        """The place after an agent, ordered by its id."""
        return self._sign(f".{agent_id}")

    def read_agent(self, cursor: str) -> str:
        """The agent's id that a cursor names.

        Raises:
            Problem: 400.
        """
        return self._verify(cursor, "query")[1:]

    def _sign(self, text: str) -> str:
        digest = hmac.digest(self._secret, f"{self._org} {text}".encode(), "sha256")
        return base32(int.from_bytes(digest[:8]) >> 14, _SIGNATURE) + text

    def _verify(self, cursor: str, place: str) -> str:
        text = cursor[_SIGNATURE:]
        if not hmac.compare_digest(self._sign(text), cursor):
            message = "is none that this organisation was given; take it from next_cursor"
            raise problems.invalid([Detail("cursor", place, message)])
        return text
