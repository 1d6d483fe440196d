"""Organisations (tenants)."""

from __future__ import annotations

from typing import Annotated

import typer

from memtrace.cli._errors import Command, Group
from memtrace.cli._opened import DEFAULT_STORE, StoreOption, opened
from memtrace.cli._output import JsonOption, print_rows

commands = typer.Typer(cls=Group, help="Create and list organisations (tenants).")


@commands.command("create", cls=Command)
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The organisation's name, one line of text; must be unique.")
    ],
    *,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Create an organisation and print its id."""
    from memtrace_server import tenants

    with opened(store, create=True) as opened_store:
        print(tenants.create_org(opened_store, name).id)


@commands.command("list", cls=Command)
def list_all(*, as_json: JsonOption = False, store: StoreOption = DEFAULT_STORE) -> None:
    """List all organisations."""
    from memtrace_server import tenants

    with opened(store) as opened_store:
        rows = [(org.id, org.name) for org in tenants.list_orgs(opened_store)]
    print_rows(("id", "name"), rows, as_json=as_json)
