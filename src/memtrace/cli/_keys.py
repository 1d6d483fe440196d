"""API keys."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from memtrace.cli._opened import DEFAULT_STORE, StoreOption, opened
from memtrace.cli._output import JsonOption, print_rows

commands = typer.Typer(help="Create, list and revoke API keys.")


@commands.command("create")
def create(
    *,
    org: Annotated[str, typer.Option(help="The organisation's id or name.")] = "org_default",
    role: Annotated[Literal["reader", "writer", "admin"], typer.Option(help="What it may do.")] = "writer",
    name: Annotated[str, typer.Option(help="What it is for, in your words.", show_default="none")] = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Create a key and print it; it cannot be shown again."""
    from memtrace_server import tenants

    with opened(store) as opened_store:
        print(tenants.create_key(opened_store, org, role, name))


@commands.command("list")
def list_all(*, as_json: JsonOption = False, store: StoreOption = DEFAULT_STORE) -> None:
    """List all keys without their text, which is stored nowhere."""
    from memtrace_server import tenants, times

    def state(revoked_at: int | None) -> str:
        return "active" if revoked_at is None else f"revoked {times.render(revoked_at)}"

    with opened(store) as opened_store:
        keys = tenants.list_keys(opened_store)
    rows = [(key.id, key.org_id, key.role, state(key.revoked_at), key.name) for key in keys]
    print_rows(("id", "org", "role", "state", "name"), rows, as_json=as_json)


@commands.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id: key_…")],
    *,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Revoke a key at once, on every server of the store."""
    from memtrace_server import tenants

    with opened(store) as opened_store:
        tenants.revoke_key(opened_store, key_id)
