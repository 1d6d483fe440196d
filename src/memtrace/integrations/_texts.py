"""Texts of people, models and tools, as the contract takes them."""

from __future__ import annotations

import json
import re
from typing import Any

from memtrace_api.limits import ADD_MEMORY_REQUEST_CONTENT_MAX_LENGTH, SEARCH_QUERY_QUERY_MAX_LENGTH

_CONTENT = ADD_MEMORY_REQUEST_CONTENT_MAX_LENGTH
_QUERY = SEARCH_QUERY_QUERY_MAX_LENGTH
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(.)")
_BREAKS = {"n": "\n", "r": "\r", "t": "\t"}


def question(prompt: str) -> str | None:
    """Return a prompt as the query of a search, or None if it is empty.

    If a prompt is longer than a query may be, the query is its beginning and its end, where people put what
    they want.
    """
    text = _text(prompt)
    if len(text) > _QUERY:
        half = _QUERY // 2
        text = text[:half] + text[-half:]
    return text or None


def contents(text: str) -> list[str]:
    """Return a text as the contents of memories: one, or several if it is longer than a memory may be."""
    text = _text(text)
    return [text[at : at + _CONTENT] for at in range(0, len(text) or 1, _CONTENT)]


def written(value: object) -> str:
    r"""Return a value as JSON, whose words a search finds: line breaks and tabs within texts are not escaped.

    Otherwise `"First line\nsecond"` would have the word "nsecond". `read` is the inverse.
    """
    text = _ESCAPE.sub(
        lambda escape: _BREAKS.get(escape[1], escape[0]), json.dumps(value, ensure_ascii=False)
    )
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def read(text: str) -> Any:  # noqa: ANN401 - JSON
    """Return the value of JSON, in which line breaks and tabs may stand within texts."""
    return json.loads(text, strict=False)


def _text(text: str) -> str:
    """Return a text with U+FFFD for NUL and lone surrogates, which the contract does not take."""
    return _NOT_TEXT.sub("\ufffd", text)
