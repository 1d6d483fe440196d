"""Move memories: export, import, copy."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from typer import TyperException

from memtrace.cli._client import KeyOption, OrgOption, UrlOption, connected, explained
from memtrace.cli._errors import MISUSED, Failure
from memtrace.cli._formats import Format, source_of
from memtrace.cli._output import counted, write_utf8
from memtrace.exceptions import BadRequestError

if TYPE_CHECKING:
    from memtrace import Memtrace

_Advance = Callable[[int], None]
_Records = Iterator[dict[str, Any]]
_OF_THE_STORE = {"org_id", "superseded_by"}  # fields that may differ between two stores


def export(  # noqa: PLR0913 - an option for each filter
    *,
    agent: Annotated[
        str | None, typer.Option(help="Only memories of this agent.", show_default="any")
    ] = None,
    session: Annotated[
        str | None, typer.Option(help="Only memories of this session.", show_default="any")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="Only memories of this type.", show_default="any"),
    ] = None,
    event_type: Annotated[
        str | None, typer.Option(metavar="E", help="Only memories of this event type.", show_default="any")
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="T", help="Only memories with this tag; repeat for several.", show_default="any"
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only memories of this time (7d) or later.", show_default="any"),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only memories from before this time.", show_default="any"),
    ] = None,
    org: OrgOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Print agents, sessions and memories as JSON Lines, which `memtrace import` reads."""
    filters: Any = {
        "agent_id": agent,
        "session_id": session,
        "memory_type": kind,
        "event_type": event_type,
        "tags": tag,
        "since": since,
        "until": until,
    }
    with connected(url, key, org) as (client, _), _progress("Exported") as advance:
        write_utf8()
        for record in client.export(**{name: value for name, value in filters.items() if value}):
            sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
            advance(1)
        sys.stdout.flush()


def import_(  # noqa: PLR0913 - an option each
    file: Annotated[
        typer.FileBinaryRead,
        typer.Argument(
            metavar="FILE",
            help="The file; - for standard input. Each message of a chat needs `role`, `content` and"
            " `time` (or `timestamp`, or `created_at`).",
        ),
    ],
    *,
    form: Annotated[
        Format, typer.Option("--format", help="The program that wrote the file; auto detects it.")
    ] = "auto",
    agent: Annotated[
        str | None,
        typer.Option(
            help="The agent of memories without one.",
            show_default="the format's name, or the user_id of mem0",
        ),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(help="The session of memories without one.", show_default="one for each chat"),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first line that cannot be imported.")
    ] = False,
    org: OrgOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Import a file of `memtrace export`, mem0 (get_all), Claude Code (a transcript) or a chat."""
    with ExitStack() as stack:
        size = os.fstat(file.fileno()).st_size  # 0 of a pipe
        advance = stack.enter_context(_progress("Read", size or None))
        try:
            source = source_of(
                _counted(file, advance), form, name=_name_of(file), agent=agent, session=session
            )
        except ValueError as error:
            raise Failure(str(error)) from error
        positions = array("Q")
        records = _noting_positions(source.records, positions)
        client, where = stack.enter_context(connected(url, key, org, create=True))
        try:
            report = client.import_(records, strict=strict)
        except BadRequestError as error:
            raise Failure(_with_position(error.message, source.part, positions)) from error
    for rejected in report.rejected:
        at = positions[rejected.position - 1]
        print(f"memtrace: {source.part} {at}: {rejected.reason}", file=sys.stderr)
    if report.imported or report.existing or not report.rejected:
        imported = counted(report.imported, "record", "records")
        print(f"Imported {imported} to {where}; {report.existing:,} existed already.")
    for (one, several), number in source.left_out.items():
        print(f"Left out {counted(number, one, several)}.")
    if report.rejected:
        raise TyperException(
            f"of the {source.parts} of {file.name}, {len(report.rejected):,} could not be imported"
        )


def _name_of(file: BinaryIO) -> str:
    is_standard_input = file.fileno() == 0
    return "" if is_standard_input else str(file.name)


def _noting_positions(records: Iterable[tuple[int, Any]], positions: array[int]) -> Iterator[Any]:
    """Yield records, and append the line or entry of each to `positions`."""
    for at, record in records:
        positions.append(at)
        yield record


def _with_position(message: str, part: str, positions: array[int]) -> str:
    """Return the error of an interrupted import, with the line or entry instead of the record's number."""
    return re.sub(r"^record (\d+)", lambda found: f"{part} {positions[int(found[1]) - 1]}", message)


def copy(  # noqa: PLR0913 - an option each
    source: Annotated[str, typer.Argument(metavar="FROM", help="A server's or a store's URL.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="A server's or a store's URL.")],
    *,
    from_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", envvar="MEMTRACE_FROM_KEY", help="The API key for FROM.", show_default="none"
        ),
    ] = None,
    to_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", envvar="MEMTRACE_TO_KEY", help="An admin's API key for TO.", show_default="none"
        ),
    ] = None,
    from_org: Annotated[
        str | None,
        typer.Option(metavar="ORG", help="The organisation in FROM, a store.", show_default="org_default"),
    ] = None,
    to_org: Annotated[
        str | None,
        typer.Option(metavar="ORG", help="The organisation in TO, a store.", show_default="org_default"),
    ] = None,
) -> None:
    """Copy all memories to another store or server, and verify them; run it again to continue."""
    with (
        connected(source, from_key, from_org, url_option="FROM", key_option="--from-key") as (one, here),
        connected(target, to_key, to_org, create=True, url_option="TO", key_option="--to-key") as (
            other,
            there,
        ),
    ):
        if one.base_url == other.base_url and (from_org, from_key) == (to_org, to_key):
            raise Failure(f"TO: {there} is FROM itself; name another store or server", MISUSED)
        records = partial(_exported, one, source, from_key)
        with _progress("Copied") as advance:
            report = other.import_(_advancing(records(), advance), strict=True)
        copied = counted(report.imported, "record", "records")
        print(f"Copied {copied} from {here} to {there}; {report.existing:,} existed already.")
        with _progress("Verified") as advance:
            count, checksum = _verify(records(), other.export(), advance)
    memories = counted(count, "memory", "memories")
    print(f"Verified {memories}: sha256 {checksum} on both sides.")


def _exported(client: Memtrace, url: str, key: str | None) -> _Records:
    with explained(url, key, "--from-key"):  # the records are read while the client of TO sends them
        yield from client.export()


def _verify(one: _Records, other: _Records, advance: _Advance) -> tuple[int, str]:
    """Compare the memories of two stores, of which the second may have more.

    Both are read in the order of their rows, so that neither must fit into memory.
    """
    theirs = _memories(other)
    mine, checksums = 0, (hashlib.sha256(), hashlib.sha256())
    theirs_now = next(theirs, None)
    for memory in _memories(one):
        while theirs_now is not None and _position(theirs_now) < _position(memory):
            theirs_now = next(theirs, None)
        if theirs_now is None or theirs_now["id"] != memory["id"]:
            raise TyperException(f"{memory['id']} is missing in the copy; run the command again")
        for checksum, record in zip(checksums, (memory, theirs_now), strict=True):
            checksum.update(_canonical(record))
        mine += 1
        advance(1)
    ours, others = (checksum.hexdigest() for checksum in checksums)
    if ours != others:
        raise TyperException(f"the checksums differ: {ours} here, {others} in the copy")
    return mine, ours


def _memories(records: _Records) -> _Records:
    return (record for record in records if record["kind"] == "memory")


def _position(memory: dict[str, Any]) -> str:
    """Return a memory's position in the order of storing, the second part of its ULID."""
    return str(memory["id"])[14:]


def _canonical(memory: dict[str, Any]) -> bytes:
    kept = {name: value for name, value in memory.items() if name not in _OF_THE_STORE}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"


def _counted(file: BinaryIO, advance: _Advance) -> Iterator[bytes]:
    for line in file:
        advance(len(line))
        yield line


def _advancing(records: Iterable[dict[str, Any]], advance: _Advance) -> Iterator[dict[str, Any]]:
    for record in records:
        advance(1)
        yield record


@contextmanager
def _progress(done: str, total: int | None = None) -> Iterator[_Advance]:
    """Show progress on a terminal: a percentage if there is a total, otherwise the number of records."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    records = [TextColumn("{task.completed:,} records")]
    columns = [BarColumn(), TextColumn("{task.percentage:>3.0f} %")] if total else records
    console = Console(stderr=True)
    with Progress(TextColumn(done), *columns, console=console, transient=True) as progress:
        task = progress.add_task(done, total=total)
        yield lambda by: progress.advance(task, by)
