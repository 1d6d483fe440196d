"""Text as it is compared: without differences that do not matter.

Long text is normalised piece by piece. Python sorts the marks of one letter in a time that grows with the
square of their number, and no other thread runs meanwhile: 64,000 accents on one letter took seven seconds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# Accents; the vowel points of Hebrew and Arabic, and what stretches an Arabic word; and what is not seen:
# soft hyphens, joiners at word ends, and selectors of a character's variant. Marks of other scripts are
# letters to their readers: without its own, パ would be ハ.
_DROPPED = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u0652\u0670"
    "\u00ad\u200b\u2060\ufeff\u20d0-\u20ff\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
# Latin letters that Unicode does not decompose, as people write them whose keyboard lacks them.
_PLAIN = {
    "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ŧ": "t",
    "\u0131": "i",  # of Turkish
}  # fmt: skip
_STROKED = re.compile(f"[{''.join(_PLAIN)}]")
_PIECE = 500  # characters, of which some take 4 µs each
_MARKS = 100  # characters after a letter that stay with it, if they belong to it
_JOINING_JAMO = range(0x1160, 0x1200)  # vowels and finals, which complete the syllable before them


def fold(text: str) -> str:
    """Return text without differences of case, width and composition, as pieces of text are compared."""
    if text.isascii():
        return text.lower()
    return "".join(map(_folded, _pieces(text)))


def plain(text: str) -> str:
    """Return text without differences of case, width, composition and accents, as words are compared."""
    if text.isascii():
        return text.lower()
    return "".join(map(_plain, _pieces(text)))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())


def _plain(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text).casefold()
    # Case folding may bring new compatibility characters, and accents (that of İ).
    parts = _DROPPED.sub("", unicodedata.normalize("NFKD", parts))
    return unicodedata.normalize("NFC", _STROKED.sub(lambda match: _PLAIN[match[0]], parts))


def _pieces(text: str) -> Iterator[str]:
    """Cut text, if possible where no character belongs to the one before it."""
    start = 0
    while len(text) - start > _PIECE:
        end = start + _PIECE
        end = next((at for at in range(end, end - _MARKS, -1) if _begins(text[at])), end)
        yield text[start:end]
        start = end
    yield text[start:]


def _begins(character: str) -> bool:
    """Return whether a character is never composed with one before it."""
    first = unicodedata.normalize("NFKD", character)[0]
    is_mark = unicodedata.category(first)[0] == "M"
    return not (is_mark or ord(first) in _JOINING_JAMO or _DROPPED.match(first))
