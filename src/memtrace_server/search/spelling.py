"""Other spellings of a word that no memory has."""

from __future__ import annotations

from collections.abc import Iterator

_MIN_LENGTH = 4  # letters: shorter words have too many neighbours
_MAX_LENGTH = 24
_ALPHABETS = {
    "latin": "abcdefghijklmnopqrstuvwxyz",
    "greek": "αβγδεζηθικλμνξοπρστυφχψω",
    "cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяєіїґ",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهويةىءأإآؤئ",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשתךםןףץ",
}


def neighbours(word: str) -> list[str]:
    """Return the words that differ by one omitted, inserted, changed or swapped letter.

    The first letter stays the same. The result is empty for a short or long word, and for a script without an
    alphabet.
    """
    alphabet = _alphabet(word)
    if alphabet is None or not _MIN_LENGTH <= len(word) <= _MAX_LENGTH:
        return []
    return list(dict.fromkeys(_edits(word, alphabet)))


def _edits(word: str, alphabet: str) -> Iterator[str]:
    for at in range(1, len(word) + 1):
        before, after = word[:at], word[at:]
        for letter in alphabet:
            yield before + letter + after
            if after and letter != after[0]:
                yield before + letter + after[1:]
        if after:
            yield before + after[1:]
        if len(after) > 1 and after[0] != after[1]:
            yield before + after[1] + after[0] + after[2:]


def _alphabet(word: str) -> str | None:
    return next((letters for letters in _ALPHABETS.values() if all(c in letters for c in word)), None)
