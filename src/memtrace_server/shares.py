"""How much of its large bodies an organisation may have in memory."""

from __future__ import annotations

import asyncio


class Share:
    """One organisation's share of memory for bodies that arrive, and its turn to have one of them stored.

    Bodies arrive side by side as long as all of them hold no more than the largest. Then only the first goes
    on, until it is dropped. So a client that is slow to send keeps no other from sending, and all of them
    never hold more than two of the largest. For the event loop's thread only.

    Args:
        most: Bytes of the largest body.

    Attributes:
        turn: Held by the body that is read and stored, which takes some five times its size.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[object, int] = {}  # by body, in the order in which they began to arrive
        self._changed = asyncio.Event()
        self.turn = asyncio.Lock()

    def hold(self, body: object, size: int) -> None:
        """Note the size of what has arrived of a body."""
        self._held[body] = size

    def drop(self, body: object) -> None:
        """Note that nothing of a body is held any more."""
        self._held.pop(body, None)
        self._changed.set()  # wakes all that wait now
        self._changed.clear()

    async def room(self, body: object) -> None:
        """Wait until more of a body may arrive."""
        while sum(self._held.values()) > self._most and next(iter(self._held)) is not body:
            await self._changed.wait()
