"""Folding of texts for comparison, in chunks with the same result as in one."""

from __future__ import annotations

import random
import unicodedata

from memtrace_server.folding import fold, plain

PARTS = [
    "e\u0301\u0323", "ガ", "か\u3099", "ｶ\uff9e", "한", "\u1112\u1161\u11ab", "하\u11ab", "ﷺ", "İ", "ß",
    "ᾳ", "Σ", "ŉ", "ﬃ", "क\u093c", "\u0bc6\u0bbe", "か\u00ad\u3099", "\u0f71\u0f73", "\U00011131\U00011127",
    "x", " ", "Å",
]  # fmt: skip
DICE = random.Random(7)  # noqa: S311 - not a secret


def folded_at_once(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())


def test_long_text_is_folded_in_chunks_as_at_once() -> None:
    for _ in range(30):
        text = "".join(DICE.choices(PARTS, k=1_000))
        assert fold(text) == folded_at_once(text)


def test_long_plain_text_is_folded_to_its_words() -> None:
    for _ in range(30):
        words = ["".join(DICE.choices(PARTS, k=5)).replace(" ", "") for _ in range(300)]
        assert plain(" ".join(words)) == " ".join(map(plain, words))


def test_a_letter_with_many_marks_is_folded_to_the_end() -> None:
    text = "a" + "\u0301\u0323" * 32_000
    assert plain(text) == "a"
    assert sorted(unicodedata.normalize("NFD", fold(text))) == sorted(text)
