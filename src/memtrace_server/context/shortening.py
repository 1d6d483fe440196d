"""Texts shortened so that a reader sees whole words and characters, and how much is missing."""

from __future__ import annotations

import re
import unicodedata

# How far to look back for the end of a word. Some scripts have no spaces, and encoded data has none.
_LONGEST_WORD = 40
_LONGEST_CHARACTER = 64  # code points; more of them are no character that anybody has seen


def shortened(text: str, length: int | None) -> str:
    """Return the beginning of a text and how many characters follow, or the text if all of it may stay."""
    start = beginning(text, length)
    return text if start == text else f"{start} … [{len(text) - len(start)} more characters]"


def beginning(text: str, length: int | None) -> str:
    """Return at most `length` characters of a text, which end with a word, or at least with a character.

    Args:
        text: The text.
        length: How many characters it may have; None for all of them.
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
    """Return whether two code points belong to what a reader sees as one character."""
    flag = "\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff"
    skin_tone = "\U0001f3fb" <= after <= "\U0001f3ff"
    joined = "\u200d" in (before, after)
    return flag or skin_tone or joined or unicodedata.category(after).startswith("M")
