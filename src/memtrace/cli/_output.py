"""What commands print: a table for people, plain lines or JSON for programs."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Protocol

import msgspec
import typer
from rich.console import Console
from rich.table import Table


class Model(Protocol):
    """A model of the SDK."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set."""


JsonOption = Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")]


def print_rows(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, as_json: bool, header: bool = True
) -> None:
    """Print rows: as a table on a terminal, otherwise with tabs between their values.

    Args:
        columns: The name of each value of a row.
        rows: The rows.
        as_json: Whether to print a JSON object a row instead.
        header: Whether a table begins with the names of its columns.
    """
    if as_json:
        write_utf8()
        for row in rows:
            print(msgspec.json.encode(dict(zip(columns, row, strict=True))).decode())
    elif sys.stdout.isatty():
        table = Table(box=None, header_style="bold", show_header=header)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*map(shown, row))
        Console(markup=False, highlight=False).print(table)
    else:
        for row in rows:
            print(*map(shown, row), sep="\t")


def print_models(models: Iterable[Model]) -> None:
    """Print models, each as a JSON object a line."""
    write_utf8()
    for model in models:
        print(msgspec.json.encode(model.to_dict()).decode())


def counted(number: int, one: str, several: str) -> str:
    """Return a number with what is counted."""
    return f"{number:,} {one if number == 1 else several}"


def shown(text: str) -> str:
    """Return a text for a terminal, which must not obey what is stored: control characters are escaped."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def write_utf8() -> None:
    """Let standard output be UTF-8, as JSON is, whatever the locale says."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def escape_unknown() -> None:
    """Let characters that a person's terminal does not know be escaped on standard output."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
