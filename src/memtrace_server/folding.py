"""Text as it is compared."""

from __future__ import annotations

import re
import unicodedata

# Accents; the vowel points of Hebrew and Arabic, and what stretches an Arabic word; and what is not seen:
# soft hyphens, joiners at word ends, and selectors of a character's variant. Marks of other scripts are
# letters to their readers: without its own, パ would be ハ.
_DROPPED = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u0652\u0670"
    "\u00ad\u200b\u2060\ufeff\u20d0-\u20ff\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)


def fold(text: str) -> str:
    """Return text without differences of case, width and composition, as pieces of text are compared."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())


def plain(text: str) -> str:
    """Return text without differences of case, width, composition and accents, as words are compared."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text).casefold()
    # Case folding may bring new compatibility characters, and accents (that of İ).
    return unicodedata.normalize("NFC", _DROPPED.sub("", unicodedata.normalize("NFKD", parts)))
