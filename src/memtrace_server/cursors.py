"""Cursors: opaque, signed positions in the pages of one query.

A cursor names the position after which a page begins, so it holds while others write and delete. It is valid
only for the organisation, the operation, the filters and the order that it was issued for.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_VERSION = b"\x01"  # of the layout: version, signature, position in MessagePack; all in URL-safe base64
_SIGNATURE = 16  # bytes
_HEAD = len(_VERSION) + _SIGNATURE
_NO_FILTERS = frozenset({"cursor", "limit", "offset", "start", "wait"})  # these may change from page to page


class Cursors:
    """The cursors of one query.

    Args:
        secret: The store's secret, which signs them.
        org: The organisation.
        operation: The contract's operationId.
        arguments: The query's parameters and body fields, with the contract's defaults.
    """

    def __init__(self, secret: bytes, org: int, operation: str, arguments: Mapping[str, Any]) -> None:
        # A switch that is off filters nothing, so a cursor stays valid when a later version adds one.
        filters = {
            name: value for name, value in arguments.items() if name not in _NO_FILTERS and value is not False
        }
        self._secret = secret
        self._query = msgspec.json.encode(["cursor", org, operation, filters], order="sorted") + b"\n"

    def write(self, position: object) -> str:
        """Return the cursor of a position.

        Args:
            position: Numbers, strings and lists of them; at most 751 bytes in MessagePack, so that the cursor
                keeps to the contract's 1,024 characters.
        """
        encoded = msgspec.msgpack.encode(position)
        return urlsafe_b64encode(_VERSION + self._sign(encoded) + encoded).rstrip(b"=").decode()

    def read(self, cursor: str, kind: type[T]) -> T:
        """Return the position that a cursor of this query names.

        Args:
            cursor: Text that the contract's pattern matches.
            kind: The position's type.

        Raises:
            ValueError: The cursor was not issued for this query.
        """
        try:
            raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except binascii.Error as error:
            raise ValueError("not base64") from error
        version, signature, encoded = raw[:1], raw[1:_HEAD], raw[_HEAD:]
        if version != _VERSION or not hmac.compare_digest(signature, self._sign(encoded)):
            raise ValueError("not issued for this query")
        return msgspec.msgpack.decode(encoded, type=kind)

    def _sign(self, encoded: bytes) -> bytes:
        return hmac.digest(self._secret, self._query + encoded, "sha256")[:_SIGNATURE]
