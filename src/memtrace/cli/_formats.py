"""Files that can be imported: our own exports, and what other programs write.

Each format becomes records as `Memtrace.export` returns them. A memory of another program gets an id that
follows from that program's own id, so to import the same twice changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Literal

from attrs import define, field

Format = Literal["auto", "memtrace", "claude-code", "mem0", "chat"]
Given = Any
"""A record, a line with one or with none, or a ValueError that says why a part of the file is none."""

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MILLISECOND = 1_000_000
_TEXT = "text"
_LINES = ("line", "lines")


def records_in(
    lines: Iterator[bytes], form: Format, agent: str | None
) -> tuple[Iterator[Given], tuple[str, str]]:
    """Return the records in a file, and what one and several of its parts are called.

    Args:
        lines: The file's lines.
        form: Its format; `auto` to find out by its first line.
        agent: The agent of memories that name none; by default, the format's name.

    Raises:
        ValueError: It has no such format.
    """
    first = next((line for line in lines if line.strip()), b"")
    lines = chain([first], lines)
    form = _detected(first) if form == "auto" else form
    if form == "memtrace":
        return lines, _LINES
    if form == "claude-code":
        return ClaudeCode(agent or form).records(lines), _LINES
    convert = {"mem0": _mem0, "chat": _chat}[form]
    entries = _entries(lines, form)
    return (_converted(convert, entry, agent or form) for entry in entries), ("entry", "entries")


@define
class ClaudeCode:
    """Transcripts of Claude Code (`~/.claude/projects/…/*.jsonl`).

    Messages are taken, tool calls, tool results and thoughts are not.
    """

    agent: str
    _ids: dict[str, str] = field(factory=dict, init=False)

    def records(self, lines: Iterable[bytes]) -> Iterator[Given]:
        """Return a record for each line that has something that was said."""
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                yield line  # which is named as no JSON
            else:
                yield self._record(entry) if isinstance(entry, dict) else line

    def _record(self, entry: dict[str, Any]) -> Given:
        name, parent = entry.get("uuid"), self._ids.get(entry.get("parentUuid") or "")
        text = _said(entry.get("message"))
        if entry.get("type") not in {"user", "assistant"} or entry.get("isMeta") or not name or not text:
            if name and parent:
                self._ids[name] = parent  # what follows from it follows from what was said before
            return b""
        metadata = {
            "role": entry["type"],
            "cwd": entry.get("cwd"),
            "git_branch": entry.get("gitBranch"),
            "model": entry["message"].get("model"),
            "is_sidechain": entry.get("isSidechain") or None,
        }
        try:
            record = _memory(self.agent, name, entry.get("timestamp"), text)
        except ValueError as error:
            return error
        self._ids[name] = record["id"]
        return {
            **record,
            "event_type": "message",
            "session_id": entry.get("sessionId"),
            "parent_id": parent,
            "metadata": {key: value for key, value in metadata.items() if value is not None},
        }


def _said(message: object) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content.strip()
    blocks = content if isinstance(content, list) else []
    texts = [block[_TEXT] for block in blocks if isinstance(block, dict) and block.get("type") == _TEXT]
    return "\n\n".join(texts).strip()


def _mem0(entry: dict[str, Any], agent: str) -> Given:
    metadata = {**(entry.get("metadata") or {}), "mem0_id": entry["id"]}
    for name in ("user_id", "updated_at"):
        if entry.get(name) is not None:
            metadata[name] = entry[name]
    return {
        **_memory(entry.get("agent_id") or agent, entry["id"], entry.get("created_at"), entry["memory"]),
        "memory_type": "entity",
        "session_id": entry.get("run_id"),
        "metadata": metadata,
    }


def _chat(entry: dict[str, Any], agent: str) -> Given:
    key = json.dumps([entry["role"], entry["content"], entry.get("time")])
    memory = _memory(agent, key, entry.get("time"), entry["content"])
    return {**memory, "event_type": "message", "metadata": {"role": entry["role"]}}


def _converted(convert: Callable[[dict[str, Any], str], Given], entry: object, agent: str) -> Given:
    """Return an entry as a record, or what is wrong with it."""
    if not isinstance(entry, dict):
        return ValueError(f"it is a {type(entry).__name__}, not an object")
    try:
        return convert(entry, agent)
    except KeyError as error:
        return ValueError(f"it has no {error.args[0]}")
    except ValueError as error:
        return error


def _memory(agent: str, key: str, moment: object, content: str) -> dict[str, Any]:
    time = _time(moment)
    return {
        "kind": "memory",
        "id": _derived_id(time, f"{agent}\n{key}"),
        "time": time.isoformat().replace("+00:00", "Z"),
        "agent_id": agent,
        "content": content,
    }


def _time(moment: object) -> datetime:
    """Return an ISO 8601 time, or seconds since 1970, as UTC."""
    if isinstance(moment, str):
        time = datetime.fromisoformat(moment)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    elif isinstance(moment, int | float):
        return datetime.fromtimestamp(moment, UTC)
    told = "it has no time" if moment is None else f"its time is {moment!r}"
    raise ValueError(f"{told}; give one with a time zone, or seconds since 1970")


def _derived_id(time: datetime, key: str) -> str:
    """Return an id as a server makes them: a ULID of the time, the moment of storing (ns), and noise."""
    milliseconds = round(time.timestamp() * 1_000)
    noise = int.from_bytes(hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest())
    moment = milliseconds * _MILLISECOND + noise % _MILLISECOND
    value = milliseconds << 80 | moment << 17 | noise >> 47
    return "mem_" + "".join(_DIGITS[value >> shift & 31] for shift in range(125, -1, -5))


def _entries(lines: Iterable[bytes], form: str) -> list[object]:
    try:
        whole = json.loads(b"".join(lines))
    except ValueError as error:
        raise ValueError(f"the file is not {form} JSON: {error}") from None
    entries = whole.get("results") if isinstance(whole, dict) else whole
    if isinstance(entries, list):
        return entries
    raise ValueError(f"the file is not {form} JSON: it has no list of entries")


def _detected(first: bytes) -> Literal["memtrace", "claude-code", "mem0", "chat"]:
    try:
        line = json.loads(first)
    except ValueError:
        line = None  # the beginning of a JSON document that goes on
    if isinstance(line, dict) and "kind" in line:
        return "memtrace"
    if isinstance(line, dict) and ({"uuid", "sessionId", "leafUuid"} & line.keys()):
        return "claude-code"
    beginning = first.lstrip()[:1]
    whole = first if line is None else json.dumps(line).encode()
    if beginning == b"{":
        return "mem0" if line is None or "results" in line else "memtrace"
    if beginning == b"[":
        return "chat" if b'"role"' in whole else "mem0"
    return "memtrace"
