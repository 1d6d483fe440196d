"""A backend for Anthropic's memory tool: each file is a memory, which supersedes its previous version.

Source of the interface, the behaviour and the texts: `anthropic.lib.tools`, the memory tool 2025-08-18 and
its own file-system backend, version 2.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from memtrace_api.limits import ADD_MEMORY_REQUEST_CONTENT_MAX_LENGTH

from memtrace import AsyncMemtrace, Memory, Memtrace
from memtrace.integrations._client import awaitable, blocking, finished, requires
from memtrace.integrations._documents import Documents, settled

with requires("anthropic"):
    from anthropic.lib.tools import BetaAbstractMemoryTool, BetaAsyncAbstractMemoryTool, ToolError
    from anthropic.types.beta import (
        BetaCacheControlEphemeralParam,
        BetaMemoryTool20250818CreateCommand,
        BetaMemoryTool20250818DeleteCommand,
        BetaMemoryTool20250818InsertCommand,
        BetaMemoryTool20250818RenameCommand,
        BetaMemoryTool20250818StrReplaceCommand,
        BetaMemoryTool20250818ViewCommand,
    )

_ROOT = "/memories"
_DEPTH = 2  # levels in the view of a directory
_WIDTH = 6  # of a line's number
_DIRECTORY = 4096  # the size in bytes that is shown for a directory
_AROUND = 2  # lines that are shown before and after a change
_LENGTH = ADD_MEMORY_REQUEST_CONTENT_MAX_LENGTH
_EMPTY = "\n"  # the content of an empty file, as a memory needs one


class MemtraceMemoryTool(BetaAbstractMemoryTool):
    """Claude's memory directory in Memtrace.

    A file is a memory of at most 65,536 characters. A changed file supersedes its previous version, so that
    `as_of` shows the directory as it was. A directory exists as long as a file is in it. Deleting a file
    forgets all its versions.

    Args:
        client: The client that stores files; for an `AsyncMemtrace`, use `AsyncMemtraceMemoryTool`.
        agent_id: The agent whose memories the files are.
        cache_control: The argument of Anthropic's tools.

    Raises:
        TypeError: The client is an `AsyncMemtrace`.

    Example:
        >>> tool = MemtraceMemoryTool("sqlite:///agent.db", agent_id="assistant")
        >>> client.beta.messages.tool_runner(tools=[tool], ...)
    """

    def __init__(
        self,
        client: Memtrace | str,
        *,
        agent_id: str,
        cache_control: BetaCacheControlEphemeralParam | None = None,
    ) -> None:
        super().__init__(cache_control=cache_control)
        self._files = _Files(blocking(client), agent_id)

    def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        """Return a file with line numbers, or the contents of a directory."""
        return finished(self._files.view(command))

    def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        """Store a new file."""
        return finished(self._files.create(command))

    def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        """Replace a text that occurs once in a file."""
        return finished(self._files.str_replace(command))

    def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        """Insert a text after a line."""
        return finished(self._files.insert(command))

    def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        """Forget a file, or all files of a directory."""
        return finished(self._files.delete(command))

    def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        """Move a file or a directory."""
        return finished(self._files.rename(command))

    def clear_all_memory(self) -> str:
        """Forget all files."""
        return finished(self._files.clear())


class AsyncMemtraceMemoryTool(BetaAsyncAbstractMemoryTool):
    """A `MemtraceMemoryTool` for `AsyncAnthropic`, which takes any client."""

    def __init__(
        self,
        client: AsyncMemtrace | Memtrace | str,
        *,
        agent_id: str,
        cache_control: BetaCacheControlEphemeralParam | None = None,
    ) -> None:
        super().__init__(cache_control=cache_control)
        self._files = _Files(awaitable(client), agent_id)

    async def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        """Return a file with line numbers, or the contents of a directory."""
        return await self._files.view(command)

    async def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        """Store a new file."""
        return await self._files.create(command)

    async def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        """Replace a text that occurs once in a file."""
        return await self._files.str_replace(command)

    async def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        """Insert a text after a line."""
        return await self._files.insert(command)

    async def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        """Forget a file, or all files of a directory."""
        return await self._files.delete(command)

    async def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        """Move a file or a directory."""
        return await self._files.rename(command)

    async def clear_all_memory(self) -> str:
        """Forget all files."""
        return await self._files.clear()


class _Files:
    """The commands, written once for both tools."""

    def __init__(self, client: AsyncMemtrace, agent_id: str) -> None:
        self._documents = Documents(client, agent_id, "file")

    async def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        path = _normal(command.path)
        memory = await self._documents.get(path)
        if memory is not None:
            return _numbered(command, _text(memory).split("\n"))
        inside = await self._inside(path)
        if not inside and path != _ROOT:
            raise ToolError(f"The path {command.path} does not exist. Please provide a valid path.")
        sizes = {file[len(path) + 1 :]: len(_text(each).encode()) for file, each in inside.items()}
        lines = [f"{size}\t{command.path}/{name}" for size, name in _tree(sizes, "", 1)]
        head = "Here're the files and directories up to 2 levels deep in"
        return "\n".join(
            [
                f"{head} {command.path}, excluding hidden items:",
                f"{_size(_DIRECTORY)}\t{command.path}",
                *lines,
            ]
        )

    @settled
    async def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        path = _normal(command.path)
        if await self._exists(path):
            raise ToolError(f"File {command.path} already exists")
        await self._put(path, command.file_text, None)
        return f"File created successfully at: {command.path}"

    @settled
    async def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        path = _normal(command.path)
        memory = await self._file(path, command.path)
        content, old = _text(memory), command.old_str
        found = content.count(old)
        if found == 0:
            raise ToolError(
                f"No replacement was performed, old_str `{old}` did not appear verbatim in {command.path}."
            )
        if found > 1:
            at = ", ".join(str(content[:at].count("\n") + 1) for at in _positions(content, old))
            raise ToolError(
                f"No replacement was performed. Multiple occurrences of old_str `{old}` in lines: {at}. "
                "Please ensure it is unique"
            )
        changed = content[: content.find(old)].count("\n")
        content = content.replace(old, command.new_str)
        await self._put(path, content, memory)
        lines = content.split("\n")
        first = max(0, changed - _AROUND)
        return (
            "The memory file has been edited. Here is the snippet showing the change (with line numbers):\n"
            + _with_numbers(lines[first : changed + _AROUND + 1], first + 1)
        )

    @settled
    async def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        path = _normal(command.path)
        memory = await self._file(path, command.path)
        lines = _text(memory).split("\n")
        if lines[-1] == "":
            lines.pop()
        if not 0 <= command.insert_line <= len(lines):
            raise ToolError(
                f"Invalid `insert_line` parameter: {command.insert_line}. "
                f"It should be within the range [0, {len(lines)}]."
            )
        lines.insert(command.insert_line, command.insert_text.rstrip("\n"))
        content = "\n".join(lines)
        await self._put(path, content if content.endswith("\n") else content + "\n", memory)
        return f"The file {command.path} has been edited."

    async def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        path = _normal(command.path)
        if path == _ROOT:
            raise ToolError("Cannot delete the /memories directory itself")
        memory = await self._documents.get(path)
        memories = [memory] if memory is not None else list((await self._inside(path)).values())
        if not memories:
            raise ToolError(f"The path {command.path} does not exist")
        await self._forget(memories)
        return f"Successfully deleted {command.path}"

    async def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        old, new = _normal(command.old_path), _normal(command.new_path)
        if old == _ROOT:
            raise ToolError("Cannot rename the /memories directory itself")
        if await self._exists(new):
            raise ToolError(f"The destination {command.new_path} already exists")
        memory = await self._documents.get(old)
        moved = [old] if memory is not None else list(await self._inside(old))
        if not moved:
            raise ToolError(f"The path {command.old_path} does not exist")
        for path in moved:
            await self._move(path, new + path[len(old) :])
        return f"Successfully renamed {command.old_path} to {command.new_path}"

    async def clear(self) -> str:
        await self._forget((await self._inside(_ROOT)).values())
        return "All memory cleared"

    @settled
    async def _move(self, old: str, new: str) -> None:
        memory = await self._documents.get(old)
        if memory is not None:
            await self._put(new, _text(memory), memory)

    async def _put(self, path: str, text: str, previous: Memory | None) -> None:
        if len(text) > _LENGTH:
            raise ToolError(f"The file would have {len(text)} characters; {_LENGTH} is the maximum")
        if "\0" in text:
            raise ToolError("The file would have a NUL character, which is not text")
        metadata = {"path": path, "empty": not text}
        await self._documents.put([path], text or _EMPTY, metadata=metadata, previous=previous)

    async def _forget(self, memories: Iterable[Memory]) -> None:
        for memory in memories:
            await self._documents.forget(memory)

    async def _file(self, path: str, shown: str) -> Memory:
        memory = await self._documents.get(path)
        if memory is None:
            if path == _ROOT or await self._inside(path):
                raise ToolError(f"The path {shown} is not a file.")
            raise ToolError(f"The path {shown} does not exist. Please provide a valid path.")
        return memory

    async def _exists(self, path: str) -> bool:
        if path == _ROOT or await self._documents.get(path) is not None:
            return True
        return bool(await self._inside(path))

    async def _inside(self, path: str) -> dict[str, Memory]:
        """Return the files below a directory by path, in order."""
        found = {memory.metadata["path"]: memory async for memory in self._documents.all()}
        return {file: found[file] for file in sorted(found) if file.startswith(f"{path}/")}


def _normal(path: str) -> str:
    """Return a normalised path.

    Raises:
        ToolError: If it does not lie below `/memories`.
    """
    if not path.startswith(_ROOT):
        raise ToolError(f"Path must start with /memories, got: {path}")
    normal = posixpath.normpath(f"{_ROOT}/{path[len(_ROOT) :].lstrip('/')}")
    if normal != _ROOT and not normal.startswith(f"{_ROOT}/"):
        raise ToolError(f"Path {path} would escape /memories directory")
    return normal


def _text(memory: Memory) -> str:
    return "" if memory.metadata["empty"] else memory.content


def _numbered(command: BetaMemoryTool20250818ViewCommand, lines: Sequence[str]) -> str:
    first, last = 0, len(lines)
    if command.view_range and len(command.view_range) == 2:  # noqa: PLR2004 - from and to
        first = max(1, command.view_range[0]) - 1
        last = len(lines) if command.view_range[1] == -1 else command.view_range[1]
    shown = _with_numbers(lines[first:last], first + 1)
    return f"Here's the content of {command.path} with line numbers:\n{shown}"


def _with_numbers(lines: Sequence[str], first: int) -> str:
    return "\n".join(f"{number:>{_WIDTH}}\t{line}" for number, line in enumerate(lines, first))


def _positions(content: str, old: str) -> Iterable[int]:
    at = content.find(old)
    while at >= 0:
        yield at
        at = content.find(old, at + 1)


def _tree(sizes: Mapping[str, int], above: str, depth: int) -> Iterable[tuple[str, str]]:
    """Yield size and path of a directory's contents by name, each directory before its own contents."""
    files = {path: size for path, size in sizes.items() if "/" not in path}
    directories = {path.partition("/")[0] for path in sizes if "/" in path}
    for entry in sorted({*files, *directories}):
        if entry.startswith("."):
            continue
        if entry in files:
            yield _size(files[entry]), above + entry
            continue
        yield _size(_DIRECTORY), f"{above}{entry}/"
        if depth < _DEPTH:
            below = {
                path[len(entry) + 1 :]: size for path, size in sizes.items() if path.startswith(f"{entry}/")
            }
            yield from _tree(below, f"{above}{entry}/", depth + 1)


def _size(count: int) -> str:
    if count == 0:
        return "0B"
    step = min((count.bit_length() - 1) // 10, 3)
    size: Any = count / 1024**step
    return f"{int(size)}{'BKMG'[step]}" if size == int(size) else f"{size:.1f}{'BKMG'[step]}"
