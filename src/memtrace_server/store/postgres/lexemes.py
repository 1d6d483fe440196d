"""What a memory is found by: the stems of its text, and words that stand for what filters ask for.

Each begins with its organisation. So one index serves all, and a search looks only at what is its own.
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

_USUAL = {("type", "episodic"), ("event", "general")}  # what most memories are, so that it finds nothing
_LARGEST = 2**63
_ROOM = (1 << 20) - 1  # bytes of all lexemes in a tsvector
_LONGEST_CHARACTER = 4  # bytes
_CACHED = 1 << 12
_SIZE = 12  # bytes of a hash; equal hashes are taken for equal values


def of(org: int, memory: NewMemory, metadata: Mapping[str, Any], stems: Iterable[str]) -> str:
    """Return a memory's lexemes as the text of a `tsvector`.

    Args:
        org: The organisation.
        memory: The memory.
        metadata: The memory's.
        stems: Those of the memory's text.
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
    """Return the lexemes that fit into a `tsvector`, the shortest first.

    Only a text of tens of thousands of different Chinese characters has more. It is not found by some of its
    pairs of characters, which only rank; phrases are looked for by single ones.
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
    """Return a facet that many memories have."""
    return facet(org, kind, value)


def wanted_facets(org: int, wanted: Filter) -> list[str]:
    """Return the lexemes of what a filter asks for, but for those of agent and session."""
    found = [facet(org, "tag", tag) for tag in wanted.tags]
    found += [facet(org, "metadata", _named(*item)) for item in (wanted.metadata or {}).items()]
    for kind, values in (("type", wanted.memory_types), ("event", wanted.event_types)):
        if len(values) == 1 and (kind, values[0]) not in _USUAL:
            found.append(facet(org, kind, values[0]))
    return found


def owners(org: int, wanted: Filter) -> list[str]:
    """Return the lexemes of the agent and the session that a filter asks for."""
    found = [] if wanted.agent_id is None else [facet(org, "agent", wanted.agent_id)]
    return found if wanted.session_id is None else [*found, facet(org, "session", wanted.session_id)]


def is_narrow(org: int, wanted: Filter) -> bool:
    """Return whether a filter asks for a property, or for a time."""
    has_bounds = wanted.since is not None or wanted.until is not None
    return has_bounds or bool(wanted_facets(org, wanted) or owners(org, wanted))


def phrase_lexemes(org: int, words: Words) -> list[str]:
    """Return the lexemes of all words of all phrases, which a memory with the phrases has."""
    stems = [stem for phrase in words.phrases for word in phrase for stem in analysis.stems(word)]
    return [stem_lexeme(org, stem) for stem in dict.fromkeys(stems)]


def query(required: Iterable[str], *groups: Sequence[str]) -> str:
    """Return the text of a `tsquery`: all that is required, and one lexeme of each group."""
    parts = [*map(_quoted, required), *(f"({' | '.join(map(_quoted, group))})" for group in groups)]
    return " & ".join(parts)


def _named(name: str, value: Any) -> str:  # noqa: ANN401 - JSON
    return msgspec.json.encode([name, _canonical(value)], order="sorted").decode()


def _canonical(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the value that stands for all that are equal as JSON."""
    if isinstance(value, Mapping):
        return {name: _canonical(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return f"\0{value}"  # which no string is: MessagePack and JSON of C have no such numbers
    return value


def _quoted(lexeme: str) -> str:
    escaped = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
