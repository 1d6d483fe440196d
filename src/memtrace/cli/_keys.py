"""API keys."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memtrace.cli._errors import Command, Group
from memtrace.cli._opened import DEFAULT_STORE, StoreOption, opened
from memtrace.cli._output import JsonOption, print_rows

if TYPE_CHECKING:
    from memtrace_server.store.records import Key

commands = typer.Typer(cls=Group, help="Create, list, rotate and revoke API keys.")


@commands.command("create", cls=Command)
def create(  # noqa: PLR0913 - an option each
    *,
    org: Annotated[str, typer.Option(help="The organisation's id or name.")] = "org_default",
    role: Annotated[Literal["reader", "writer", "admin"], typer.Option(help="The key's role.")] = "writer",
    name: Annotated[str, typer.Option(help="A description of the key.", show_default="none")] = "",
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="Let the key expire after a time, such as 90d.", show_default="never"
        ),
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Limit the key to the memories of one agent.",
            show_default="all of the organisation",
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Create a key and print it; it cannot be shown again."""
    from memtrace_server import tenants, times

    expires_at = None if expires is None else times.now() + times.parse_duration(expires)
    with opened(store) as opened_store:
        tenants.create_key(
            opened_store, org, role, name, expires_at=expires_at, agent_id=agent, show=_print_key
        )


@commands.command("rotate", cls=Command)
def rotate(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the key to replace: key_…")],
    *,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old key stays valid beside the new one.")
    ] = "24h",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Print a new key with the same rights, and let the old key expire."""
    from memtrace_server import tenants, times

    duration = times.parse_duration(overlap)
    with opened(store) as opened_store:
        _, new, old = tenants.rotate_key(opened_store, key_id, duration, show=_print_key)
    print(f"{new.id} replaces {old.id}, which is valid for at most another {overlap}.", file=sys.stderr)


@commands.command("list", cls=Command)
def list_all(*, as_json: JsonOption = False, store: StoreOption = DEFAULT_STORE) -> None:
    """List all keys, without their text, which is not stored."""
    from memtrace_server import tenants, times

    def moment(at: int | None) -> str:
        return "" if at is None else f"{times.render(at)[:19]}Z"

    def state(key: Key) -> str:
        if key.revoked_at is not None:
            return f"revoked {moment(key.revoked_at)}"
        return "active" if key.expires_at is None or key.expires_at > times.now() else "expired"

    with opened(store) as opened_store:
        keys = tenants.list_keys(opened_store)
    columns = ("id", "org", "role", "state", "name", "agent", "created", "last used", "expires")
    rows = [
        (
            key.id, key.org_id, key.role, state(key), key.name, key.agent_id or "", moment(key.created_at),
            moment(key.last_used_at), moment(key.expires_at),
        )
        for key in keys
    ]  # fmt: skip
    print_rows(columns, rows, as_json=as_json)


@commands.command("revoke", cls=Command)
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id: key_…")],
    *,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Revoke a key at once, on every server of the store."""
    from memtrace_server import tenants

    with opened(store) as opened_store:
        tenants.revoke_key(opened_store, key_id)


def _print_key(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError as error:
        raise OSError(
            f"standard output: {error.strerror}; the new key was revoked, as nobody has seen it"
        ) from error
