"""The bound on tokens is never below what a tokenizer counts, and not far above it for English."""
# ruff: noqa: RUF001 - these texts have letters of many scripts

from __future__ import annotations

import doctest

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memtrace_server.context import tokens
from memtrace_server.context.tokens import upper_bound

# Texts, each with the tokens that the most wasteful tokenizer makes of it and of twenty such lines, and the
# name of that tokenizer. Counted once, with the vocabularies in public packages; those of Claude 3 and 4.7
# are a reconstruction from counts. Many of these texts broke an earlier bound.
COUNTED = [
    ("User prefers dark mode in every editor, and short answers without small talk.", 21, 458, "Claude 4.7"),
    (
        (
            "The deployment failed because the database migration locked the sessions table for"
            " eleven minutes."
        ),
        25,
        538,
        "Claude 4.7",
    ),
    ("Zyzzyva qxv brrgh: whts shts prry scth grra drry", 26, 558, "Claude 4.7"),
    ("ERROR QUARTZ JQZ Zq ZZZZ HTTPServer getUserName XMLHttpRequest", 41, 858, "Claude 4.7"),
    ("'should' 'restart' it'll 'version' don't", 17, 359, "Claude 4.7"),
    ("3f2b8c1e-9d47-4a6b-8e05-7c1d2f3a4b5c", 37, 740, "Llama 2"),
    ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.dGhpcyBpcyBub3Q", 50, 1038, "Claude 4.7"),
    ("0123456789 3.14159 2026-11-01T09:30:00.123456Z", 47, 940, "Llama 2"),
    ('{"user_id": 42, "tags": ["ui", "a-b"], "ok": true, "note": null}', 34, 718, "Claude 4.7"),
    (
        (
            'File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode\n    raise J'
            'SONDecodeError("Expecting value", s, err.value) from None'
        ),
        58,
        1198,
        "Claude 4.7",
    ),
    ("https://example.com/a/b?q=%20&x=1#frag", 20, 438, "Claude 4.7"),
    ("~ ^ ` ~ ^ 1 ^ 1 ~ 1 \t ) \t ) $ / _ @", 43, 879, "Claude 4.7"),
    ("def f(x):\n        return  {k: v for k, v in x.items()}\n\n\n\t\tpass" + " " * 60, 32, 659, "Llama 2"),
    (
        ("Der Benutzer möchte künftig ausschließlich über verschlüsselte Wege benachrichtigt werden."),
        39,
        818,
        "Claude 4.7",
    ),
    ("Пользователь предпочитает тёмную тему и короткие ответы.", 26, 539, "Claude 2"),
    ("Ο χρήστης προτιμά το σκούρο θέμα.", 37, 759, "Claude 2"),
    ("المستخدم يفضل الوضع الداكن والإجابات القصيرة.", 39, 799, "Claude 2"),
    ("उपयोगकर्ता को डार्क मोड पसंद है।", 37, 759, "Claude 2"),
    ("ผู้ใช้ชอบโหมดมืดและคำตอบสั้นๆ", 53, 1079, "Claude 2"),
    ("用户喜欢深色模式和简短的回答。", 20, 400, "cl100k"),
    ("ユーザーはダークモードを好みます。", 18, 379, "Claude 2"),
    ("사용자는 다크 모드를 선호합니다.", 19, 380, "Llama 2"),
    ("Người dùng thích chế độ tối.", 21, 439, "Claude 2"),
    ("👩\u200d💻🏳\ufe0f\u200d🌈🇩🇪👍🏽✅❤\ufe0f", 46, 939, "Tekken"),
    ("ﷺ ㎏ ﬃ ½ Å Ⓜ⠢ ⓚ ࿏Ⴠ Ǆ", 49, 1018, "Claude 4.7"),
    ("\u0301e\u0323\u0301 a\u0300 ڪ\u0658ڰ ௳Є", 23, 479, "Claude 4.7"),
    ("x" * 40, 39, 818, "Claude 4.7"),
    ("\u023a" * 8, 26, 558, "Claude 3"),
]

# 65 tokens in cl100k and o200k, 66 in Llama 2, 87 in Claude 4.7.
PROSE = (
    "The assistant keeps a short memory of what the user asked for and what it decided to do. When a "
    "task takes more than one session, it reads the notes of the last one first, so that it does not "
    "ask the same questions again. Important decisions are kept with their reasons; small steps are "
    "forgotten after a while."
)


@pytest.mark.parametrize(("text", "once", "twenty_times", "tokenizer"), COUNTED)
def test_no_tokenizer_counts_more_than_the_bound(
    text: str, once: int, twenty_times: int, tokenizer: str
) -> None:
    assert upper_bound(text) >= once, tokenizer
    # Twenty lines, so that the allowance for the ends of a text cannot hide characters that count too low.
    assert upper_bound("\n".join([text] * 20)) >= twenty_times, tokenizer


def test_english_prose_is_bounded_far_below_its_bytes() -> None:
    assert 87 <= upper_bound(PROSE) <= 1.75 * 65
    assert upper_bound(PROSE) < 0.4 * len(PROSE)


def test_random_letters_cost_as_much_as_their_bytes() -> None:
    assert upper_bound("qxzvkjwq" * 1_000) >= 8_000


def test_example_of_the_module_is_true() -> None:
    assert doctest.testmod(tokens) == (0, 2)


def test_empty_text_has_no_tokens() -> None:
    assert upper_bound("") == 0


def test_lone_surrogate_is_counted() -> None:
    assert upper_bound("\ud800") >= 3


@given(st.text())
@example("\r\n \u2028\x00")
def test_the_bound_is_never_below_the_words_of_a_text(text: str) -> None:
    assert upper_bound(text) >= len(text.split())


@given(st.text(), st.text())
@example("costs 5 $", "^ and")
@example("it'", "should")
def test_the_bound_of_joined_lines_is_at_most_the_sum_of_their_bounds(first: str, second: str) -> None:
    assert upper_bound(f"{first}\n{second}") <= upper_bound(first) + upper_bound(f"\n{second}")


@given(st.lists(st.text(max_size=30)))
def test_the_bound_of_list_items_is_the_sum_of_what_each_adds(texts: list[str]) -> None:
    items = [f"- {' '.join(text.split())}\n" for text in texts]

    added = sum(upper_bound("\n" + item) - upper_bound("\n") for item in items)

    assert upper_bound("\n" + "".join(items)) == upper_bound("\n") + added
