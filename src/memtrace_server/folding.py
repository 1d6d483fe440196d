"""Text as it is compared."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """Text without case, as pieces of text are compared."""
    return text.casefold()


def plain(text: str) -> str:
    """Text without case, accents and ligatures, as words are compared, in any script."""
    if text.isascii():  # which most is, and nothing of it comes apart
        return text.lower()
    parts = unicodedata.normalize("NFKD", text).casefold()
    return "".join(part for part in parts if not unicodedata.combining(part))
