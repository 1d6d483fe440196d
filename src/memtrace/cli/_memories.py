"""Commands for people: store, read and search memories."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer

from memtrace import Memory, Memtrace
from memtrace.cli._client import KeyOption, OrgOption, UrlOption, connected
from memtrace.cli._output import JsonOption, print_models, print_rows
from memtrace.cli._pairs import pairs

AgentOption = Annotated[
    str | None,
    typer.Option("--agent", metavar="AGENT", help="Only this agent's memories.", show_default="all"),
]
SessionOption = Annotated[
    str | None, typer.Option("--session", metavar="SESSION", help="The session.", show_default="none")
]
TagOption = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="A tag; may be repeated.", show_default="none"),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="How far back: 24h, 7d, or a date.",
        show_default="no limit",
    ),
]
MetadataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        metavar="K=V",
        help="A key and a value of the metadata, JSON or otherwise text; may be repeated.",
        show_default="none",
    ),
]
ImportanceOption = Annotated[
    float | None,
    typer.Option(
        "--importance", min=0, max=1, metavar="N", help="The importance, from 0 to 1.", show_default="none"
    ),
]
SupersedesOption = Annotated[
    str | None,
    typer.Option(
        "--supersedes", metavar="ID", help="The memory that this one replaces.", show_default="none"
    ),
]
TimeOption = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="TIME",
        help="When it happened, with a time zone: 2026-11-01T09:00:00Z.",
        show_default="now",
    ),
]
TtlOption = Annotated[
    int | None,
    typer.Option(
        "--ttl",
        metavar="SECONDS",
        help="Forget the memory after this time.",
        show_default="never",
    ),
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, max=1000, metavar="N", help="The maximum number of memories.")
]


def remember(  # noqa: PLR0913 - an option each
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent of the memory.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text to store; - reads standard input.")],
    *,
    session: SessionOption = None,
    tag: TagOption = None,
    event_type: Annotated[
        str | None,
        typer.Option(
            "--event-type", metavar="WORD", help="What happened, in a word.", show_default="general"
        ),
    ] = None,
    importance: ImportanceOption = None,
    metadata: MetadataOption = None,
    supersedes: SupersedesOption = None,
    time: TimeOption = None,
    ttl: TtlOption = None,
    org: OrgOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store a memory."""
    content = sys.stdin.read().removesuffix("\n") if text == "-" else text
    fields = _given(
        session_id=session,
        tags=tag,
        event_type=event_type,
        importance=importance,
        metadata=pairs(metadata) if metadata else None,
        supersedes=supersedes,
        time=time,
        ttl=ttl,
    )
    with _memory(url, key, org, create=True) as client:
        _show([client.remember(agent, content, **fields)], as_json=as_json)


def decide(  # noqa: PLR0913 - an option each
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent that decided.")],
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="The decision.")],
    reasoning: Annotated[str, typer.Argument(metavar="REASONING", help="The reason.")],
    *,
    session: SessionOption = None,
    tag: TagOption = None,
    importance: ImportanceOption = None,
    metadata: MetadataOption = None,
    supersedes: SupersedesOption = None,
    time: TimeOption = None,
    org: OrgOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store a decision and the reason for it."""
    fields = _given(
        session_id=session,
        tags=tag,
        importance=importance,
        metadata=pairs(metadata) if metadata else None,
        supersedes=supersedes,
        time=time,
    )
    with _memory(url, key, org, create=True) as client:
        memory = client.decide(agent, decision, reasoning, **fields)
        _show([memory], as_json=as_json)


def recall(  # noqa: PLR0913 - an option each
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent whose memories to read.")],
    *,
    session: SessionOption = None,
    tag: TagOption = None,
    since: SinceOption = None,
    limit: LimitOption = 20,
    org: OrgOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an agent's newest memories, newest first."""
    fields = _given(session_id=session, tags=tag, since=since)
    with _memory(url, key, org) as client:
        _show(client.recall(agent, limit=limit, **fields).memories, as_json=as_json)


def search(  # noqa: PLR0913 - an option each
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help='A question or words; "a phrase" and -word are exact.')
    ],
    *,
    agent: AgentOption = None,
    session: SessionOption = None,
    tag: TagOption = None,
    since: SinceOption = None,
    limit: LimitOption = 10,
    org: OrgOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the memories that match a question, best first."""
    fields = _given(agent_id=agent, session_id=session, tags=tag, since=since)
    with _memory(url, key, org) as client:
        _show(client.search_memories(query=question, limit=limit, **fields).results, as_json=as_json)


def context(  # noqa: PLR0913 - an option each
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent whose memories to read.")],
    *,
    query: Annotated[
        str | None,
        typer.Option("--query", metavar="QUESTION", help="Put the best matches first.", show_default="none"),
    ] = None,
    session: SessionOption = None,
    since: SinceOption = None,
    max_tokens: Annotated[
        int,
        typer.Option("--max-tokens", min=1, metavar="N", help="The token budget, which is never exceeded."),
    ] = 4_000,
    org: OrgOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the memories of an agent, or of one session, as text for a model."""
    fields = _given(query=query, since=since, max_tokens=max_tokens)
    with _memory(url, key, org) as client:
        found = (
            client.get_session_context(session, agent_id=agent, **fields)
            if session is not None
            else client.get_agent_context(agent, **fields)
        )
    if as_json:
        print_models([found])
    else:
        if text := found.context.rstrip("\n"):
            print(text)
        if not found.memory_count:
            print("memtrace: no memory is in this context; raise --max-tokens or --since", file=sys.stderr)


def tail(  # noqa: PLR0913 - an option each
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show new memories as they are stored, until Ctrl-C.")
    ] = False,
    agent: AgentOption = None,
    session: SessionOption = None,
    tag: TagOption = None,
    limit: LimitOption = 10,
    org: OrgOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the newest memories, oldest first."""
    fields = _given(agent_id=agent, session_id=session, tags=tag)
    with _memory(url, key, org) as client:
        cursor = client.tail_memories(**fields).next_cursor if follow else None
        newest = client.list_memories(limit=limit, **fields).memories[::-1]
        _show(newest, as_json=as_json)
        sys.stdout.flush()
        if not follow:
            return
        shown = {memory.id for memory in newest}  # memories stored after the cursor was read are in both
        with suppress(KeyboardInterrupt):
            for memory in client.tail(cursor=cursor, **fields):
                if memory.id not in shown:
                    _show([memory], as_json=as_json, header=False)
                    sys.stdout.flush()


def agents(
    *,
    org: OrgOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the agents."""
    with _memory(url, key, org) as client:
        found = [agent for page in _pages(client.list_agents) for agent in page.agents]
    if as_json:
        print_models(found)
        return
    rows = [(agent.id, _time(agent.last_active_at), agent.description or "") for agent in found]
    print_rows(("AGENT", "LAST ACTIVE", "DESCRIPTION"), rows, as_json=False)


def sessions(
    *,
    agent: Annotated[
        str | None,
        typer.Option("--agent", metavar="AGENT", help="Only this agent's sessions.", show_default="all"),
    ] = None,
    org: OrgOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the sessions, newest first."""
    fields = _given(agent_id=agent)
    with _memory(url, key, org) as client:
        found = [each for page in _pages(client.list_sessions, **fields) for each in page.sessions]
    if as_json:
        print_models(found)
        return
    rows = [(each.id, each.agent_id, each.status, _time(each.created_at)) for each in found]
    print_rows(("SESSION", "AGENT", "STATUS", "STARTED"), rows, as_json=False)


def stats(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent whose memories to count.")],
    *,
    org: OrgOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count an agent's memories and sessions."""
    with _memory(url, key, org) as client:
        found = client.get_agent_stats(agent)
    if as_json:
        print_models([found])
        return
    rows = [
        ("memories", str(found.memory_count)),
        ("in the last 24 hours", str(found.memories_24h)),
        ("errors in the last 24 hours", str(found.errors_24h)),
        ("sessions", str(found.session_count)),
        ("active sessions", str(found.active_sessions)),
        *((f"of type {kind}", str(count)) for kind, count in found.memory_types.items()),
    ]
    print_rows(("WHAT", "COUNT"), rows, as_json=False)


@contextmanager
def _memory(url: str | None, key: str | None, org: str | None, *, create: bool = False) -> Iterator[Memtrace]:
    """Open a memory and print its name on standard error, unless a program has named it with `--url`."""
    with connected(url, key, org, create=create) as (client, where):
        if url is None or sys.stderr.isatty():
            print(f"memory: {where}", file=sys.stderr, flush=True)
        yield client


def _show(memories: Iterable[Memory], *, as_json: bool, header: bool = True) -> None:
    if as_json:
        print_models(memories)
        return
    rows = [
        (
            memory.id or "",
            _time(memory.time),
            memory.agent_id,
            memory.session_id or "",
            memory.event_type,
            _said(memory),
        )
        for memory in memories
    ]
    columns = ("MEMORY", "TIME", "AGENT", "SESSION", "EVENT", "CONTENT")
    print_rows(columns, rows, as_json=False, header=header)


def _said(memory: Memory) -> str:
    """Return the content, with the reason of a decision, as in a context."""
    reason = (memory.metadata or {}).get("reasoning")
    is_decision = memory.memory_type == "decision" and isinstance(reason, str)
    return f"{memory.content} — because {reason}" if is_decision else memory.content


def _pages(method: Any, **fields: Any) -> Iterable[Any]:  # noqa: ANN401 - pages of any kind
    page = method(**fields)
    yield page
    while page.next_cursor:
        page = method(cursor=page.next_cursor, **fields)
        yield page


def _given(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of any request
    return {name: value for name, value in fields.items() if value is not None}


def _time(moment: Any) -> str:  # noqa: ANN401 - a datetime, if there is one
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
