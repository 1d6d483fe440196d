"""Output of commands: tables for people, plain lines or JSON for programs."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Protocol

import msgspec
import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

_RAISING = {"strict", "surrogateescape"}  # the second is Python's choice in the locale C
_MIN_LAST_COLUMN = 30  # characters of the last column, whose values may be long


class Model(Protocol):
    """A model of the SDK."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set."""


JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


def print_rows(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, as_json: bool, header: bool = True
) -> None:
    """Print rows: for people on a terminal, otherwise with tabs between the values.

    On a terminal, rows form a table if its width leaves room for the last column; otherwise each row takes a
    few lines. Ids are never folded, so that they can be copied.

    Args:
        columns: The names of a row's values.
        rows: The rows.
        as_json: Whether to print one JSON object per row instead.
        header: Whether a table begins with the names of its columns.
    """
    if as_json:
        write_utf8()
        for row in rows:
            print(msgspec.json.encode(dict(zip(columns, row, strict=True))).decode())
    elif sys.stdout.isatty():
        _print_for_people(columns, [[shown(value) for value in row] for row in rows], header=header)
    else:
        for row in rows:
            print(*map(shown, row), sep="\t")


def _print_for_people(columns: Sequence[str], rows: Sequence[Sequence[str]], *, header: bool) -> None:
    console = Console(markup=False, highlight=False)
    *widths, last = [max(map(cell_len, values)) for values in zip(columns, *rows, strict=True)]
    padding = 2 * len(columns)
    if sum(widths) + min(last, _MIN_LAST_COLUMN) + padding <= console.width:
        table = Table(box=None, header_style="bold", show_header=header)
        for column in columns[:-1]:
            table.add_column(column, no_wrap=True)
        table.add_column(columns[-1], overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    for name, *values in rows:
        console.print(name, style="bold", soft_wrap=True)
        facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        facts.add_column()
        facts.add_column(no_wrap=True)
        facts.add_column(overflow="fold")
        for column, value in zip(columns[1:], values, strict=True):
            if value:
                facts.add_row("", column, value)
        console.print(facts)


def print_models(models: Iterable[Model]) -> None:
    """Print models as one JSON object per line."""
    write_utf8()
    for model in models:
        print(msgspec.json.encode(model.to_dict()).decode())


def counted(number: int, one: str, several: str) -> str:
    """Return a number with the noun that is counted."""
    return f"{number:,} {one if number == 1 else several}"


def shown(text: str) -> str:
    """Escape control characters in a text, as a terminal would obey them."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def write_utf8() -> None:
    """Switch standard output to UTF-8, the encoding of JSON, whatever the locale."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def escape_unknown() -> None:
    """Escape characters on standard output that the encoding of the terminal lacks."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in _RAISING:
        sys.stdout.reconfigure(errors="backslashreplace")
