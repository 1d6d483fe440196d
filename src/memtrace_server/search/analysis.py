"""Words and stems of a text, the same for every store.

Exact filters compare *words*: runs of letters, digits and their marks, without case and accents. Ranking
compares *stems*: words without their endings, so that "running" and "ran" match "run".

Text in scripts without spaces between words (Chinese, Japanese, Thai and their neighbours), and Korean, which
attaches particles to words, is split into characters, each with its marks. Every character is a word, so that
a phrase is found as written; the stems are the characters and their overlapping pairs.

English words are stemmed by Porter's algorithm; words of other languages are not stemmed. Porter's algorithm
is frozen, while Snowball English changes with its versions, which would make every index invalid. Source:
Porter, An Algorithm for Suffix Stripping (1980).
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
import threading
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from importlib.resources import files
from itertools import chain, pairwise
from typing import Any, cast

from memtrace_server.folding import plain

_MAX_LENGTH = 64  # letters of a word; the rest of a longer one, such as a key or an image, is hashed
_MAX_MARKS = 15  # of a character; no language has more, and further marks count as another character
_LANGUAGES = ("de", "es", "fr")  # whose stop words are known, beside English
_CACHE_SIZE = 1 << 16  # words whose stems are cached
_APOSTROPHES = re.compile("[\u2018\u2019\u02bc\uff07]")
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*")
# Matches Latin, Greek and Cyrillic words without checking marks and scripts, in an eighth of the time.
_SPACED_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_OTHER_SCRIPT = re.compile("[^\x00-\u0482\u048a-\u0590\u1e00-\u2319\u2320-\u23e8]")
_RUN = re.compile(r"[^\W_]+")
# A capital that begins a part of a name: that of Config in parseConfig, and of Server in HTTPServer.
_SEAM = re.compile(r"[A-Z](?:(?<=[a-z].)|(?<=[A-Z0-9].)(?=[a-z]{2}))")
_MIN_PART = 3  # letters
_HYPHEN = re.compile(
    r"-(?<=[^\W\d_]-)[^\W\d_]"
)  # between letters; found in a tenth of the time of a whole word
_HYPHENATED = re.compile(r"(?<!\w)(?<!\w-)([^\W\d_]+)-([^\W\d_]+)(?![\w-])")
# Scripts that are split into characters: Thai, Lao, Burmese, Khmer, Han, kana, bopomofo, Hangul.
_UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u103f\u1050-\u1099\u1780-\u17d3\u1100-\u11ff"
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3041-\u3096\u3099-\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7fb"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_SIGN = (
    "[\u231a\u231b\u23e9-\u23f3\u23f8-\u23fa\u2600-\u27bf\u2934\u2935\u2b1b\u2b1c\u2b50\u2b55"
    "\U0001f000-\U0001faff][\U0001f3fb-\U0001f3ff]?"
)
_EMOJI = rf"[\U0001f1e6-\U0001f1ff]{{2}}|{_SIGN}[\U000e0020-\U000e007f]*(?:\u200d{_SIGN})*"

_Run = str | Sequence[str]
"""A run of letters, or the characters of a run in a script that is split into characters."""


def words(text: str) -> list[str]:
    """Return the words of a text, in their order.

    Example:
        >>> words("The user's dog isn't 5.")
        ['the', 'user', 'dog', 'isnt', '5']
    """
    return _words(*_apart(text))


def stems(text: str) -> list[str]:
    """Return the stems of a text, including stop words, in their order.

    Example:
        >>> stems("She ran two tests")
        ['she', 'run', 'two', 'test']
    """
    return _stems(*_apart(text))


def further_stems(text: str) -> list[str]:
    """Return the stems of the parts of names such as `parseConfig2`, and of hyphenated words without hyphens.

    Digits at the end of a part may be left out. Only capitals divide a name here: other signs divide words.
    Short parts and long names do not count.

    Example:
        >>> further_stems("parseConfig2 raised an HTTPServerError, as the APIs of GitHub do")
        ['pars', 'config2', 'config', 'http', 'server', 'error', 'git', 'hub']
        >>> further_stems("Wi-Fi, a sign-up and state-of-the-art")
        ['wifi', 'signup']
    """
    found: list[str] = []
    if _SEAM.search(text):
        runs = [run for run in _RUN.findall(text) if len(run) <= _MAX_LENGTH]
        found += chain.from_iterable(map(_parts, runs))
    if _HYPHEN.search(text):
        found += [_stem(plain(left + right)) for left, right in _HYPHENATED.findall(text)]
    return found


def found_by(text: str) -> list[str]:
    """Return the stems by which a text is found: those of its words, and further ones.

    Example:
        >>> found_by("She ran parseConfig")
        ['she', 'run', 'parseconfig', 'pars', 'config']
    """
    return stems(text) + further_stems(text)


def words_and_found_by(text: str) -> tuple[list[str], list[str]]:
    """Return the words of a text, and the stems by which it is found; the text is split once.

    Example:
        >>> words_and_found_by("We ran")
        (['we', 'ran'], ['we', 'run'])
    """
    runs, is_plain = _apart(text)
    return _words(runs, is_plain), _stems(runs, is_plain) + further_stems(text)


def question_stems(text: str) -> list[tuple[str, bool]]:
    """Return the stems to search for, and for each whether it is the stem of a stop word.

    Several consecutive characters of a script without spaces are searched by their pairs only.
    """
    found: list[tuple[str, bool]] = []
    runs = _apart(text)[0]
    others = _other_stop_words({run for run in runs if isinstance(run, str)})
    for run in runs:
        if isinstance(run, str):
            stem = _stem(run)
            found.append((stem, run in _stop_words() or run in others or stem in _stop_stems()))
        else:
            found += [(pair, False) for pair in _pairs(run) or run]
    return found


def telling_stems(text: str) -> list[str]:
    """Return the stems of a question about a time, without stop words and generic words, each once.

    Example:
        >>> telling_stems("What happened on"), telling_stems("What failed on")
        ([], ['fail'])
    """
    found = (stem for stem, is_stop in question_stems(text) if not (is_stop or stem in _generic_stems()))
    return list(dict.fromkeys(found))


def _apart(text: str) -> tuple[Sequence[_Run], bool]:
    """Return the runs of a text, and whether all of them are runs of letters."""
    folded = _folded(text)
    pattern = _spaced(folded)
    return (list(_general_runs(folded)), False) if pattern is None else (pattern.findall(folded), True)


def _words(runs: Sequence[_Run], is_plain: bool) -> list[str]:  # noqa: FBT001 - as `_apart` has it
    if is_plain:
        texts = cast("Sequence[str]", runs)
        return list(map(_as_word if _are_short(texts) else _word, texts))
    found: list[str] = []
    for run in runs:
        if isinstance(run, str):
            found.append(_word(run))
        else:
            found += run
    return found


def _stems(runs: Sequence[_Run], is_plain: bool) -> list[str]:  # noqa: FBT001 - as `_apart` has it
    if is_plain:
        texts = cast("Sequence[str]", runs)
        return list(map(_as_stem if _are_short(texts) else _stem, texts))
    found: list[str] = []
    for run in runs:
        if isinstance(run, str):
            found.append(_stem(run))
        else:
            found += run
            found += _pairs(run)
    return found


def _folded(text: str) -> str:
    return plain(text if text.isascii() else _APOSTROPHES.sub("'", text))


def _spaced(folded: str) -> re.Pattern[str] | None:
    """Return the pattern of words, or None for a text whose scripts need the general pattern."""
    if folded.isascii():
        return _ASCII_WORD
    return None if _OTHER_SCRIPT.search(folded) else _SPACED_WORD


def _general_runs(folded: str) -> Iterator[_Run]:
    general, character = _patterns()
    for match in general.finditer(folded):
        yield character.findall(match[0]) if match.lastgroup == "unspaced" else match[0]


def _pairs(characters: Sequence[str]) -> list[str]:
    return [left + right for left, right in pairwise(characters)]


def _are_short(runs: Sequence[str]) -> bool:
    """Return whether all runs are short enough to be cached.

    Checking each run separately would take as long as all other work.
    """
    return max(map(len, runs), default=0) <= _MAX_LENGTH


def _word(run: str) -> str:
    """Return a run of letters as a word; long runs are not cached, as many of them would fill the memory."""
    return _as_word(run) if len(run) <= _MAX_LENGTH else _as_word.__wrapped__(run)


def _stem(run: str) -> str:
    """Return the stem of a run of letters."""
    return _as_stem(run if len(run) <= _MAX_LENGTH else _word(run))


@functools.lru_cache(maxsize=_CACHE_SIZE)
def _as_word(run: str) -> str:
    """Return a run of letters without its possessive ending, apostrophes and joiners."""
    word = run.removesuffix("'s").replace("'", "").replace("\u200c", "").replace("\u200d", "") or run
    if len(word) <= _MAX_LENGTH:
        return word
    rest = hashlib.blake2b(word[_MAX_LENGTH // 2 :].encode(), digest_size=_MAX_LENGTH // 4).hexdigest()
    return word[: _MAX_LENGTH // 2] + rest


@functools.lru_cache(maxsize=_CACHE_SIZE)
def _as_stem(run: str) -> str:
    word = _word(run)
    base = _bases().get(word, word)
    if not (base.isascii() and base.isalpha()):  # a word with digits is a name, such as "k8s"
        return word
    with _STEMMING:
        return sys.intern(_porter().stemWord(base))


_STEMMING = threading.Lock()
"""Held while a word is stemmed, because a stemmer keeps the word in its attributes."""


@functools.lru_cache(maxsize=_CACHE_SIZE)
def _parts(name: str) -> Sequence[str]:
    """Return the stems of the parts of a name; empty for a word that is no such name."""
    parts = _SEAM.sub(r" \g<0>", name).split()
    if len(parts) == 1:
        return ()
    forms = (form for part in parts for form in dict.fromkeys((part, part.rstrip("0123456789"))))
    return tuple(_stem(plain(form)) for form in forms if len(form) >= _MIN_PART)


@functools.cache
def _porter() -> Any:  # noqa: ANN401 - its package has no types
    # Imported when the first word is searched or indexed: with all its languages, it takes 3 MB.
    from snowballstemmer import stemmer  # type: ignore[import-untyped] # noqa: PLC0415

    return stemmer("porter")


@functools.cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the pattern of runs in any script, and the pattern of a character with its marks."""
    marks = _marks()
    letters = rf"[^\W_{_UNSPACED}]"
    word = rf"{letters}+(?:[{marks}]+{letters}*|'{letters}+)*"
    unspaced = rf"(?P<unspaced>[{_UNSPACED}][{_UNSPACED}{marks}]*)"
    return re.compile(f"{unspaced}|{_EMOJI}|{word}"), re.compile(rf"[\s\S][{marks}]{{0,{_MAX_MARKS}}}")


def _marks() -> str:
    """Return every mark (vowel signs, viramas, tones) and joiner as ranges of a character class."""
    codes = [code for code in range(0x300, 0x1F000) if unicodedata.category(chr(code))[0] == "M"]
    ranges: list[list[int]] = [[0x200C, 0x200D]]
    for code in codes:
        if code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


@functools.cache
def _bases() -> dict[str, str]:
    """Return the base of each irregular form."""
    lines = [line.split() for line in _data("irregular.txt").splitlines()]
    return {form: line[0] for line in lines for form in line[1:]}


@functools.cache
def abbreviations() -> Mapping[str, Sequence[str]]:
    """Return, by stem, the stems of what it abbreviates, or of its abbreviations."""
    found: dict[str, list[str]] = {}
    for line in _lines(_data("abbreviations.txt")):
        short, *others = map(_stem, line.split())
        found[short] = others
        for other in others:
            found[other] = [short]
    return found


@functools.cache
def _stop_words() -> frozenset[str]:
    return _listed("stopwords.txt")


@functools.cache
def _generic_stems() -> frozenset[str]:
    return frozenset(map(_stem, _listed("generic.txt")))


@functools.cache
def _stop_stems() -> frozenset[str]:
    # Without contractions: "I'd" is a stop word, but its stem "id" is not.
    return frozenset(_stem(word) for word in _stop_words() if "'" not in word)


def _other_stop_words(runs: AbstractSet[str]) -> AbstractSet[str]:
    """Return the stop words of the languages other than English of which a text has stop words.

    Words such as "die" and "comment" are stop words of one language and not of another.
    """
    found: set[str] = set()
    for telling, words in _stop_words_by_language():
        if not telling.isdisjoint(runs):
            found |= words & runs
    return found


@functools.cache
def _stop_words_by_language() -> Sequence[tuple[frozenset[str], frozenset[str]]]:
    """Return, for each language, the stop words that English does not have, and all stop words."""
    found: list[tuple[frozenset[str], frozenset[str]]] = []
    for language in _LANGUAGES:
        telling, _, others = _data(f"stopwords_{language}.txt").partition("\n\n")
        first = frozenset(map(plain, _lines(telling)))
        found.append((first, first | frozenset(map(plain, _lines(others)))))
    return found


def _listed(name: str) -> frozenset[str]:
    return frozenset(_lines(_data(name)))


def _lines(text: str) -> Iterator[str]:
    return filter(None, (line.partition("#")[0].strip() for line in text.splitlines()))


def _data(name: str) -> str:
    return files("memtrace_server.search").joinpath(name).read_text(encoding="utf-8")
