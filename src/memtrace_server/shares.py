"""Memory for large bodies, and how organisations share it."""

from __future__ import annotations

import asyncio

from attrs import define


@define
class _Body:
    """Bytes that are held of a body or reserved for it, and that may still come."""

    held: int
    left: int


class Share:
    """One organisation's share of memory for incoming bodies, and the turn to store one of them.

    A part of a body is reserved before it is received, and only if all bodies could then still arrive to the
    end, one after the other (the banker's algorithm, https://www.cs.utexas.edu/~EWD/ewd01xx/EWD108.PDF).
    So all of them together never hold more than the share, they never wait for one another in a circle, and a
    slow one keeps no more from the others than its own size. For the event loop's thread only.

    Args:
        most: Bytes that all bodies may hold together; two of the largest, or a slow one could take it all.

    Attributes:
        turn: Held by the body that is read and stored, which takes some five times its size.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._bodies: dict[object, _Body] = {}
        self._waiting: dict[object, tuple[int, asyncio.Future[None]]] = {}
        self.turn = asyncio.Lock()

    def join(self, body: object, size: int) -> None:
        """Add a body of which up to `size` bytes are to come, until `drop`."""
        self._bodies[body] = _Body(held=0, left=size)

    async def reserve(self, body: object, size: int) -> None:
        """Wait until `size` bytes of a body, or all that are left of it, may arrive, and count them."""
        if self._take(body, size):
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting[body] = size, waiter
        try:
            await waiter
        finally:
            self._waiting.pop(body, None)

    def settle(self, body: object, held: int) -> None:
        """Record that `held` bytes of a body have come, and release what else was reserved for it."""
        known = self._bodies[body]
        known.left += known.held - held
        known.held = held
        self._wake()

    def drop(self, body: object) -> None:
        """Remove a body, of which nothing is held any more."""
        self._bodies.pop(body, None)
        self._wake()

    def _take(self, body: object, size: int) -> bool:
        known = self._bodies[body]
        size = min(size, known.left)
        known.held += size
        known.left -= size
        if self._is_safe():
            return True
        known.held -= size
        known.left += size
        return False

    def _is_safe(self) -> bool:
        """Return whether all bodies could arrive to their end, one after the other."""
        free = self._most - sum(body.held for body in self._bodies.values())
        for body in sorted((body for body in self._bodies.values() if body.held), key=lambda body: body.left):
            if body.left > free:
                return False
            free += body.held
        return True

    def _wake(self) -> None:
        """Continue bodies that wait; if the one that needs least cannot continue, no other can."""
        for body in sorted(self._waiting, key=lambda body: self._bodies[body].left):
            size, waiter = self._waiting[body]
            if waiter.done():  # given up
                continue
            if not self._take(body, size):
                break
            del self._waiting[body]
            waiter.set_result(None)
