"""Ids and tags for names of any length and alphabet."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

_LONGEST = 128  # characters of an id or a tag
_READABLE = 40  # characters that are kept of a longer name


def name(*parts: str) -> str:
    """Return one text for these parts that can be an id or a tag, the same each time.

    Parts are escaped as in a URL, so no two lists of parts share a text; a text that would be too long ends
    in its SHA-256.
    """
    text = "/".join(quote(part, safe="@:+") for part in parts)
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_READABLE]}#{hashlib.sha256(text.encode()).hexdigest()}"
