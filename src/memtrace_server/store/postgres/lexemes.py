"""The lexemes of a memory: the stems of its text, and facets for conditions of filters.

Each lexeme begins with the organisation, so that one index serves all organisations, and a search reads only
its own.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from memtrace_server.search import analysis
from memtrace_server.store.records import Filter, NewMemory, Words

_USUAL = {
    ("type", "episodic"),
    ("event", "general"),
}  # of most memories, so that they would not narrow a search
_LARGEST = 2**63
_ROOM = (1 << 20) - 1  # bytes of all lexemes in a tsvector
_LONGEST_CHARACTER = 4  # bytes
_CACHED = 1 << 12
_SIZE = 12  # bytes of a hash; values with equal hashes count as equal


def of(org: int, memory: NewMemory, metadata: Mapping[str, Any], stems: Iterable[str]) -> str:
    """Return a memory's lexemes as the text of a `tsvector`.

    Args:
        org: The organisation.
        memory: The memory.
        metadata: The memory's metadata.
        stems: The stems of the memory's text.
    """
    found = {_label(org, "agent", memory.agent_id)}
    if memory.session_id is not None:
        found.add(_label(org, "session", memory.session_id))
    for kind, value in (("type", memory.memory_type), ("event", memory.event_type)):
        if (kind, value) not in _USUAL:
            found.add(_label(org, kind, value))
    found.update(_label(org, "tag", tag) for tag in memory.tags)
    found.update(facet(org, "metadata", _named(*item)) for item in metadata.items())
    prefix = stem_lexeme(org, "")
    found.update(_fitting([prefix + stem for stem in stems], found))
    ordered = sorted(found)
    joined = "' '".join(ordered)
    if "\\" in joined or joined.count("'") > 2 * (len(ordered) - 1):
        return " ".join(map(_quoted, ordered))
    return f"'{joined}'"


def _fitting(stems: Iterable[str], beside: Iterable[str]) -> Iterable[str]:
    """Yield the lexemes that fit into a `tsvector`, the shortest first.

    Only a text of tens of thousands of distinct Chinese characters has more. Such a text lacks some pairs of
    characters, which matter only for ranking; phrases are searched by single characters.
    """
    distinct = dict.fromkeys(stems)
    room = _ROOM - sum(map(_bytes, beside))
    if sum(map(len, distinct)) * _LONGEST_CHARACTER <= room:
        return distinct
    ordered = sorted(distinct, key=_bytes)
    return [stem for stem, end in zip(ordered, accumulate(map(_bytes, ordered)), strict=True) if end <= room]


def _bytes(lexeme: str) -> int:
    return len(lexeme.encode())


def stem_lexeme(org: int, stem: str) -> str:
    """Return the lexeme of a stem."""
    return f"{org}s{stem}"


def facet(org: int, kind: str, value: str) -> str:
    """Return the lexeme of a property."""
    digest = hashlib.blake2b(f"{kind} {value}".encode(), digest_size=_SIZE).hexdigest()
    return f"{org}f{digest}"


@functools.lru_cache(maxsize=_CACHED)
def _label(org: int, kind: str, value: str) -> str:
    """Return a facet that many memories share."""
    return facet(org, kind, value)


def wanted_facets(org: int, wanted: Filter) -> list[str]:
    """Return the lexemes of a filter's conditions, except agent and session."""
    found = [facet(org, "tag", tag) for tag in wanted.tags]
    found += [facet(org, "metadata", _named(*item)) for item in (wanted.metadata or {}).items()]
    for kind, values in (("type", wanted.memory_types), ("event", wanted.event_types)):
        if len(values) == 1 and (kind, values[0]) not in _USUAL:
            found.append(facet(org, kind, values[0]))
    return found


def owners(org: int, wanted: Filter) -> list[str]:
    """Return the lexemes of a filter's agent and session."""
    found = [] if wanted.agent_id is None else [facet(org, "agent", wanted.agent_id)]
    return found if wanted.session_id is None else [*found, facet(org, "session", wanted.session_id)]


def is_narrow(org: int, wanted: Filter) -> bool:
    """Return whether a filter has a condition on a property or a time."""
    has_bounds = wanted.since is not None or wanted.until is not None
    return has_bounds or bool(wanted_facets(org, wanted) or owners(org, wanted))


def phrase_lexemes(org: int, words: Words) -> list[str]:
    """Return the lexemes of all words of all phrases."""
    stems = [stem for phrase in words.phrases for word in phrase for stem in analysis.stems(word)]
    return [stem_lexeme(org, stem) for stem in dict.fromkeys(stems)]


def query(required: Iterable[str], *groups: Sequence[str]) -> str:
    """Return the text of a `tsquery` for all required lexemes and one of each group."""
    parts = [*map(_quoted, required), *(f"({' | '.join(map(_quoted, group))})" for group in groups)]
    return " & ".join(parts)


def _named(name: str, value: Any) -> str:  # noqa: ANN401 - JSON
    return msgspec.json.encode([name, _canonical(value)], order="sorted").decode()


def _canonical(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a canonical form, which is the same for all values that are equal as JSON."""
    if isinstance(value, Mapping):
        return {name: _canonical(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return f"\0{value}"  # no string begins so; other encoders lack such numbers
    return value


def _quoted(lexeme: str) -> str:
    escaped = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
