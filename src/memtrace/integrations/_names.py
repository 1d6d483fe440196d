"""Ids and tags for names of any length and alphabet."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

_MAX_LENGTH = 128  # characters of an id or a tag
_READABLE = 40  # characters of a longer name that are kept


def name(*parts: str) -> str:
    """Return a text for some parts that is valid as an id or a tag; equal parts give equal texts.

    Parts are escaped as in a URL, so that different parts give different texts. A text that is too long is
    cut, and ends with its SHA-256.
    """
    text = "/".join(quote(part, safe="@:+") for part in parts)
    if len(text) <= _MAX_LENGTH:
        return text
    return f"{text[:_READABLE]}#{hashlib.sha256(text.encode()).hexdigest()}"
