"""Forget memories."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memtrace.cli._client import KeyOption, OrgOption, UrlOption, connected
from memtrace.cli._output import JsonOption, counted
from memtrace.cli._pairs import pairs

if TYPE_CHECKING:
    from memtrace_api.fields import ForgetFilters


def forget(  # noqa: PLR0913 - an option for each filter
    memory_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Ids of memories. Use ids or filters.")
    ] = None,
    *,
    agent: Annotated[
        str | None, typer.Option(help="Only memories of this agent.", show_default="any")
    ] = None,
    session: Annotated[
        str | None, typer.Option(help="Only memories of this session.", show_default="any")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="Only memories of this type; repeat for several.",
            show_default="any",
        ),
    ] = None,
    event_type: Annotated[
        list[str] | None,
        typer.Option(
            metavar="E", help="Only memories of this event type; repeat for several.", show_default="any"
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="T", help="Only memories with this tag; repeat for several.", show_default="any"
        ),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="K=V",
            help="Only memories whose metadata has this value under this key: JSON, otherwise text.",
            show_default="any",
        ),
    ] = None,
    min_importance: Annotated[
        float | None,
        typer.Option(metavar="X", help="Only memories of at least this importance.", show_default="any"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only memories of this time (7d, 2026-11-01T00:00:00Z) or later.",
            show_default="any",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only memories from before this time.", show_default="any"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the memories.")] = False,
    as_json: JsonOption = False,
    org: OrgOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Permanently delete memories, by their ids or by filters that must all match."""
    given: dict[str, Any] = {
        "agent_id": agent,
        "session_id": session,
        "memory_types": kind,
        "event_types": event_type,
        "tags": tag,
        "metadata": pairs(metadata or []),
        "min_importance": min_importance,
        "since": since,
        "until": until,
    }
    filters: ForgetFilters = {name: value for name, value in given.items() if value not in (None, [], {})}  # type: ignore[assignment]
    if not memory_ids and not filters:
        raise typer.BadParameter("give ids, or at least one filter", param_hint="ID")
    if memory_ids and filters:
        raise typer.BadParameter("give ids or filters, not both", param_hint="ID")
    if memory_ids and dry_run:
        raise typer.BadParameter(
            "needs filters, as it counts the memories that match them", param_hint="--dry-run"
        )
    with connected(url, key, org) as (client, where):
        if memory_ids:
            for memory_id in memory_ids:
                client.forget(memory_id)
            number = len(memory_ids)
        else:
            number = client.forget_all(dry_run=dry_run, **filters)
        if as_json:
            print(json.dumps({"matched" if dry_run else "deleted": number, "store": where}))
        else:
            done = "Would forget" if dry_run else "Forgot"
            print(f"{done} {counted(number, 'memory', 'memories')} in {where}.")
