"""Formats of files that can be imported: exports of Memtrace, and files of other programs.

Each format is converted to records as `Memtrace.export` returns them. The id of a memory from another program
is derived from that program's id or from the content and its position, so importing a file twice changes
nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import PurePath
from typing import Any, Literal

from attrs import define, field

Format = Literal["auto", "memtrace", "claude-code", "mem0", "chat"]
Given = Any
"""A record, a line that may contain one, or a ValueError that says why a part of the file is not a record."""

LeftOut = Counter[tuple[str, str]]
"""Numbers of omitted parts, by their singular and plural names."""

MAX_TOOL_TEXT = 2_000
"""Maximum number of characters of a tool's input or result."""

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MILLISECOND = 1_000_000
_LINES_TO_DETECT = 1_000  # lines that are read to detect a format
_TEXT = "text"
_NO_MESSAGE = "line without a message or a tool call", "lines without a message or a tool call"
_NO_TEXT = "message without a text or a tool call", "messages without a text or a tool call"
_TEXT_TYPES = {_TEXT, "input_text", "output_text"}  # types of parts in Anthropic's and both of OpenAI's APIs
_OBSERVED = {"function", "tool"}  # roles


@define
class Source:
    """The records in a file.

    Attributes:
        records: The records, each with the position of its line or entry.
        part: The name of a part of the file, such as "line".
        parts: The plural of `part`.
        left_out: The numbers of omitted parts; complete when all records have been read.
    """

    records: Iterator[tuple[int, Given]]
    part: str = "line"
    parts: str = "lines"
    left_out: LeftOut = field(factory=Counter)


def source_of(
    lines: Iterator[bytes], form: Format, *, name: str, agent: str | None, session: str | None
) -> Source:
    """Return the records in a file.

    Args:
        lines: The file's lines.
        form: The format; `auto` detects it.
        name: The file's name.
        agent: The agent of memories without one; by default, the user of mem0, or the format's name.
        session: The session of memories without one; by default, one for each chat.

    Raises:
        ValueError: The file does not have this format.
    """
    document: object = None
    if form == "auto":
        begun = list(islice(lines, _LINES_TO_DETECT))
        lines = chain(begun, lines)
        form = _format_of_lines(begun)
        if form == "auto":
            document = _document(lines, "")
            form = "chat" if _is_chat(_list_in(document, "messages")) else "mem0"
    if form == "memtrace":
        return Source(enumerate(lines, 1))
    if form == "claude-code":
        transcript = ClaudeCode(agent or form, session)
        return Source(transcript.records(lines), left_out=transcript.left_out)
    if document is None:
        document = _document(lines, form)
    entries = _list_in(document, "messages" if form == "chat" else "results")
    if not isinstance(entries, list):
        raise ValueError(f"the file is not {form} JSON: it has no list of entries")  # noqa: TRY004 - of the file
    if form == "chat":
        chat = Chat(agent or form, session, PurePath(name).stem)
        return Source(chat.records(entries), "entry", "entries", chat.left_out)
    relations = _list_in(document, "relations") if isinstance(document, dict) else None
    left_out: LeftOut = Counter()
    if relations and isinstance(relations, list):
        left_out["relation", "relations"] = len(relations)
    mem0 = ((at, _converted(_mem0, entry, agent, session)) for at, entry in enumerate(entries, 1))
    return Source(mem0, "entry", "entries", left_out)


@define
class ClaudeCode:
    """Transcripts of Claude Code (`~/.claude/projects/…/*.jsonl`).

    Messages of people and models become memories, and so do tool calls (actions) and their results
    (observations), cut to `MAX_TOOL_TEXT` characters. Thoughts, summaries and snapshots are left out.
    """

    agent: str
    session: str | None
    left_out: LeftOut = field(factory=Counter, init=False)
    _ids: dict[str, str] = field(factory=dict, init=False)
    _now: str = field(factory=lambda: _text_of(datetime.now(UTC)), init=False)

    def records(self, lines: Iterable[bytes]) -> Iterator[tuple[int, Given]]:
        """Yield a record for each message, tool call and result."""
        for at, line in enumerate(lines, 1):
            try:
                entry = json.loads(line) if line.strip() else None
            except (ValueError, RecursionError):
                entry = None
            if not isinstance(entry, dict):
                yield at, line  # a blank line, or one that the import reports as invalid
                continue
            try:
                memories = self._memories(entry)
            except ValueError as error:
                yield at, error
                continue
            if not memories:
                self.left_out[_NO_MESSAGE] += 1
            for memory in memories:
                yield at, memory

    def _memories(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        name = entry.get("uuid")
        before = entry.get("parentUuid")
        parent = self._ids.get(before) if isinstance(before, str) else None
        message = entry.get("message")
        events: list[tuple[str, str, dict[str, Any]]] = []
        if (
            entry.get("type") in ("user", "assistant")
            and isinstance(message, dict)
            and not entry.get("isMeta")
        ):
            events = _events(entry["type"], message.get("content"))
        if not isinstance(name, str):
            if events:
                raise ValueError("it has no uuid")
            return []
        if not events:
            if parent:
                self._ids[name] = parent  # its children get the previous memory as parent
            return []
        metadata = {
            "cwd": entry.get("cwd"),
            "git_branch": entry.get("gitBranch"),
            "model": message.get("model") if isinstance(message, dict) else None,
            "is_sidechain": entry.get("isSidechain") or None,
        }
        time = _time(entry.get("timestamp"))
        memories: list[dict[str, Any]] = []
        for number, (event_type, text, facts) in enumerate(events):
            key = f"{self.agent}\n{name}"
            memory_id = _derived_id(time, f"{key}\n{number}" if number else key, first=key, after=number)
            memories.append(
                {
                    **_memory(self.agent, memory_id, time, text),
                    "created_at": self._now,
                    "event_type": event_type,
                    "session_id": entry.get("sessionId") or self.session,
                    "parent_id": parent,
                    "metadata": {
                        name: value for name, value in {**facts, **metadata}.items() if value is not None
                    },
                }
            )
            parent = memory_id
        self._ids[name] = memories[-1]["id"]
        return memories


def _events(role: str, content: object) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the event type, text and metadata of a transcript message's text, tool calls and results."""
    blocks: list[Any] = [{"type": _TEXT, _TEXT: content}] if isinstance(content, str) else []
    if isinstance(content, list):
        blocks = [block for block in content if isinstance(block, dict)]
    said = _said(blocks)
    events: list[tuple[str, str, dict[str, Any]]] = [(role, said, {"role": role})] if said else []
    for block in blocks:
        match block.get("type"):
            case "tool_use":
                given = json.dumps(block.get("input"), ensure_ascii=False)
                text = f"{block.get('name') or 'tool'} {given}"
                events.append(("action", _shortened(text), {"tool": block.get("name")}))
            case "tool_result":
                result = block.get("content")
                text = result.strip() if isinstance(result, str) else _said(result)
                if text:
                    failed = {"is_error": True} if block.get("is_error") else {}
                    events.append(("observation", _shortened(text), failed))
    return events


def _said(blocks: object) -> str:
    """Return the texts of a message's blocks."""
    known = [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    texts = [block.get(_TEXT) for block in known if block.get("type") in _TEXT_TYPES]
    return "\n\n".join(text for text in texts if isinstance(text, str)).strip()


def _shortened(text: str) -> str:
    more = len(text) - MAX_TOOL_TEXT
    return text if more <= 0 else f"{text[:MAX_TOOL_TEXT]}… ({more:,} more characters)"


_TIMES = ("time", "timestamp", "created_at")


@define
class Chat:
    """A list of messages, each with `role`, `content` and a time, as in the APIs of models.

    The time of a message is `time`, `timestamp` or `created_at`, the first of them that it has.

    A content is a text or a list of parts, whose texts form one memory. Each tool call becomes an action, and
    each result in a part an observation, cut to `MAX_TOOL_TEXT` characters.

    A repeated message becomes a memory with another id. Messages of one moment keep their order. The session
    is named after the file and its first message, so that it stays the same when messages are appended to the
    file.
    """

    agent: str
    session: str | None
    name: str
    left_out: LeftOut = field(factory=Counter, init=False)
    _said_before: Counter[str] = field(factory=Counter, init=False)
    _moments: dict[int, tuple[str, int]] = field(factory=dict, init=False)  # in ms
    _now: str = field(factory=lambda: _text_of(datetime.now(UTC)), init=False)

    def records(self, entries: list[object]) -> Iterator[tuple[int, Given]]:
        """Yield a record for each message, tool call and result."""
        for at, entry in enumerate(entries, 1):
            memories = _converted(self._memories, entry)
            if isinstance(memories, ValueError):
                yield at, memories
                continue
            if not memories:
                self.left_out[_NO_TEXT] += 1
            for memory in memories:
                yield at, memory

    def _memories(self, entry: dict[str, Any]) -> list[dict[str, Any]]:
        calls = entry.get("tool_calls") or []
        role, content = entry["role"], entry.get("content") if calls else entry["content"]
        named = next((name for name in _TIMES if entry.get(name) is not None), "time")
        time = _time(entry.get(named), named)
        if not isinstance(role, str):
            raise ValueError(f"its role is {role!r}, not a text")  # noqa: TRY004 - the file is wrong, not a call
        key = json.dumps([role, content, entry[named], *([calls] if calls else ())])
        if self.session is None:
            first = hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=4).hexdigest()
            self.session = f"{self.name[:100].strip() or 'chat'}-{first}"
        key = f"{self.agent}\n{self.session}\n{key}"
        self._said_before[key] += 1
        key = f"{key}\n{self._said_before[key]}"
        first, after = self._moments.get(_milliseconds(time), (key, 0))
        memories: list[dict[str, Any]] = []
        for number, (event_type, text, facts) in enumerate(_events_of_message(role, content, calls)):
            own = f"{key}\n{number}" if number else key
            memory_id = _derived_id(time, own, first=first, after=after + number)
            memories.append(
                {
                    **_memory(self.agent, memory_id, time, text),
                    "created_at": self._now,
                    "event_type": "observation" if event_type in _OBSERVED else event_type,
                    "session_id": self.session,
                    "metadata": {**facts, "role": role},
                }
            )
        self._moments[_milliseconds(time)] = first, after + len(memories)
        return memories


def _events_of_message(role: str, content: Any, calls: object) -> list[tuple[str, Any, dict[str, Any]]]:  # noqa: ANN401 - as the file has it
    """Return the event type, text and metadata of a chat message's text, tool calls and results."""
    uses = [_use(call) for call in calls] if isinstance(calls, list) else []
    if isinstance(content, list):
        return _events(role, [*content, *uses])
    done = _events(role, uses)
    return done if uses and not content else [(role, content, {}), *done]  # the content unchanged


def _use(call: object) -> dict[str, Any]:
    """Convert a function call from the form of OpenAI's API to that of Anthropic's."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return {}
    given = function.get("arguments")
    with suppress(ValueError, RecursionError):
        given = json.loads(given) if isinstance(given, str) else given
    return {"type": "tool_use", "name": function.get("name"), "input": given}


_FIELDS_OF_MEM0 = {
    "agent_id",
    "categories",
    "created_at",
    "hash",
    "id",
    "memory",
    "metadata",
    "run_id",
    "score",
}


def _mem0(entry: dict[str, Any], agent: str | None, session: str | None) -> dict[str, Any]:
    of_user = entry.get("metadata") or {}
    if not isinstance(of_user, dict):
        raise ValueError(f"its metadata is a {type(of_user).__name__}, not an object")  # noqa: TRY004 - of the file
    others = {
        name: value for name, value in entry.items() if name not in _FIELDS_OF_MEM0 and value is not None
    }
    owner = entry.get("agent_id") or agent or entry.get("user_id") or "mem0"
    time = _time(entry.get("created_at"))
    run = entry.get("run_id") or session
    return {
        **_memory(owner, _derived_id(time, f"{owner}\n{entry['id']}"), time, entry["memory"]),
        "memory_type": "entity",
        **({"session_id": run} if run else {}),
        "tags": entry.get("categories") or [],
        "metadata": {**of_user, **others, "mem0_id": entry["id"]},
    }


def _converted(convert: Any, entry: object, *arguments: str | None) -> Given:  # noqa: ANN401 - as it is called
    """Return an entry as a record, or a ValueError that says what is wrong."""
    if not isinstance(entry, dict):
        return ValueError(f"it is a {type(entry).__name__}, not an object")
    try:
        return convert(entry, *arguments)
    except KeyError as error:
        return ValueError(f"it has no {error.args[0]}")
    except ValueError as error:
        return error


def _memory(agent: str, memory_id: str, time: datetime, content: str) -> dict[str, Any]:
    return {"kind": "memory", "id": memory_id, "time": _text_of(time), "agent_id": agent, "content": content}


def _time(moment: object, name: str = "time") -> datetime:
    """Return an ISO 8601 time, or seconds since 1970, as UTC."""
    time = None
    try:
        if isinstance(moment, str):
            given = datetime.fromisoformat(moment)
            time = None if given.tzinfo is None else given.astimezone(UTC)
        elif isinstance(moment, int | float) and not isinstance(moment, bool):
            time = datetime.fromtimestamp(moment, UTC)
    except (ValueError, OverflowError, OSError):
        time = None
    if time is None:
        problem = "it has no time" if moment is None else f"its {name} is {moment!r:.60}"
        raise ValueError(f"{problem}; give one with a time zone, or seconds since 1970")
    if time.timestamp() < 0:
        raise ValueError(f"its {name} is {moment!r:.60}; give one after 1970")
    return time


def _text_of(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _derived_id(time: datetime, key: str, *, first: str | None = None, after: int = 0) -> str:
    """Return an id in the server's form: a ULID of the time, the moment of storing (ns), and noise.

    Args:
        time: When the event happened.
        key: The key from which the id is derived.
        first: The key of the first of several memories that keep their order at one time; by default, `key`.
        after: How many of these memories precede this one.
    """
    milliseconds = _milliseconds(time)
    noise = _noise(key)
    moment = milliseconds * _MILLISECOND + _noise(first or key) % _MILLISECOND + after
    value = milliseconds << 80 | moment << 17 | noise >> 47
    return "mem_" + "".join(_DIGITS[value >> shift & 31] for shift in range(125, -1, -5))


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1_000)


def _noise(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest())


def _document(lines: Iterable[bytes], form: str) -> object:
    try:
        return json.loads(b"".join(lines))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the file is not {f'{form} JSON'.strip()}: {error}") from None


def _list_in(document: object, name: str) -> object:
    """Return a document that is a list, or the list under a name in an object."""
    return document.get(name) if isinstance(document, dict) else document


def _format_of_lines(lines: Iterable[bytes]) -> Literal["auto", "memtrace", "claude-code"]:
    """Return the format of JSON Lines, or `auto` for a JSON document."""
    is_begun_document = False
    for line in filter(bytes.strip, lines):
        if line.lstrip().startswith(b"[") or line.strip() == b"{":
            return "auto"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            is_begun_document |= line.lstrip().startswith(b"{")
            continue
        if isinstance(entry, dict):
            if "kind" in entry:
                return "memtrace"
            if entry.keys() & {"results", "messages"}:
                return "auto"
            if entry.keys() & {"type", "uuid", "sessionId", "leafUuid"}:
                return "claude-code"
    return "auto" if is_begun_document else "memtrace"


def _is_chat(entries: object) -> bool:
    """Return whether the first entry of a list is a message of a chat."""
    entry = entries[0] if isinstance(entries, list) and entries else None
    return isinstance(entry, dict) and "role" in entry and "memory" not in entry
