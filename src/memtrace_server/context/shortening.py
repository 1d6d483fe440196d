"""Shortening of texts at the end of a word or character, with the number of missing characters."""

from __future__ import annotations

import re
import unicodedata

# How far to look back for the end of a word. Some scripts have no spaces, and encoded data has none.
_LONGEST_WORD = 40
_LONGEST_CHARACTER = 64  # code points, more than any real character has


def shortened(text: str, length: int | None) -> str:
    """Return the beginning of a text and the number of missing characters, or a short text unchanged."""
    start = beginning(text, length)
    return text if start == text else f"{start} … [{len(text) - len(start)} more characters]"


def beginning(text: str, length: int | None) -> str:
    """Return at most `length` characters of a text, cut at the end of a word or at least of a character.

    Args:
        text: The text.
        length: The maximum number of characters; None for the whole text.
    """
    if length is None or len(text) <= length:
        return text
    end = length
    if not text[end].isspace():
        in_word = re.search(r"\s(\S*)\Z", text[max(0, end - _LONGEST_WORD) : end])
        if in_word:
            end -= len(in_word[1])
        farthest = max(0, end - _LONGEST_CHARACTER)
        while end > farthest and _is_inside_character(text[end - 1], text[end]):
            end -= 1
    return text[:end].rstrip()


def _is_inside_character(before: str, after: str) -> bool:
    """Return whether two code points belong to one character as readers see it."""
    flag = "\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff"
    skin_tone = "\U0001f3fb" <= after <= "\U0001f3ff"
    joined = "\u200d" in (before, after)
    return flag or skin_tone or joined or unicodedata.category(after).startswith("M")
