"""A store for LangGraph: long-term memory across threads, with ranked search instead of embeddings.

Source of the interface: `langgraph.store.base`, langgraph-checkpoint 4.3.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from memtrace import AsyncMemtrace, Memory, Memtrace
from memtrace.integrations._client import both, finished, requires
from memtrace.integrations._documents import Documents, settled
from memtrace.integrations._names import name
from memtrace.integrations._texts import question, read, written

with requires("langgraph"):
    from langgraph.store.base import (
        BaseStore,
        GetOp,
        Item,
        ListNamespacesOp,
        MatchCondition,
        Op,
        PutOp,
        Result,
        SearchItem,
        SearchOp,
        TTLConfig,
    )

_KIND = "langgraph"
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


class MemtraceStore(BaseStore):
    """LangGraph's long-term memory in Memtrace.

    An item is a memory, and a new value supersedes the previous one. `query` is a ranked search for words,
    which needs no embeddings; it finds the items that have a word of it, the best 100 at most, of which
    `filter` selects. The first 65,536 characters of a value as JSON are searched, whichever fields `index`
    names. `list_namespaces`, and `filter` without a query, read every item below the namespace.

    Args:
        client: The client that stores items. With an `AsyncMemtrace`, only the asynchronous methods work.
        agent_id: The agent whose memories the items are.
        ttl: The default time to live in minutes, and whether reading an item extends it. Expired items are
            never returned, so `omit_expired` and `sweep_interval_minutes` have no effect.

    Example:
        >>> graph = builder.compile(store=MemtraceStore("sqlite:///agent.db"))
    """

    supports_ttl = True

    def __init__(
        self,
        client: AsyncMemtrace | Memtrace | str,
        *,
        agent_id: str = "langgraph",
        ttl: TTLConfig | None = None,
    ) -> None:
        waiting, at_once = both(client)
        self.ttl_config = ttl
        self._waiting = Documents(waiting, agent_id, _KIND)
        self._at_once = None if at_once is None else Documents(at_once, agent_id, _KIND)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Perform operations: all reads, then the last write to each item.

        Raises:
            TypeError: The store has an `AsyncMemtrace`.
        """
        if self._at_once is None:
            raise TypeError("client: an AsyncMemtrace cannot block; pass a Memtrace or a URL, or use abatch")
        return finished(self._batch(self._at_once, ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Perform operations like `batch`."""
        return await self._batch(self._waiting, ops)

    async def _batch(self, documents: Documents, ops: Iterable[Op]) -> list[Result]:
        results: list[Result] = []
        puts: dict[tuple[tuple[str, ...], str], PutOp] = {}
        for op in ops:
            match op:
                case GetOp():
                    results.append(await self._get(documents, op))
                case SearchOp():
                    results.append(await self._search(documents, op))
                case ListNamespacesOp():
                    results.append(await _namespaces(documents, op))
                case PutOp():
                    puts[op.namespace, op.key] = op
                    results.append(None)
                case _:
                    raise ValueError(f"ops: unknown operation {type(op).__name__}")
        for op in puts.values():
            await self._put(documents, op)
        return results

    async def _get(self, documents: Documents, op: GetOp) -> Item | None:
        memory = await documents.get(*op.namespace, op.key)
        if memory is None:
            return None
        if op.refresh_ttl:
            await _refresh(documents, memory)
        return Item(**await _fields(documents, memory))

    async def _search(self, documents: Documents, op: SearchOp) -> list[SearchItem]:
        labels = [_label(op.namespace_prefix)] if op.namespace_prefix else []
        query = question(op.query or "")
        found = documents.search(query, *labels) if query else documents.all(*labels)
        matches: list[Memory] = []
        async for memory in found:
            if len(matches) >= op.offset + op.limit:
                break
            if query and memory.metadata.get("index") is False:
                continue
            if not op.filter or _matches(read(await documents.text(memory)), op.filter):
                matches.append(memory)
        page = matches[op.offset :]
        if op.refresh_ttl:
            for memory in page:
                await _refresh(documents, memory)
        return [SearchItem(**await _fields(documents, memory), score=memory.score) for memory in page]

    @settled
    async def _put(self, documents: Documents, op: PutOp) -> None:
        previous = await documents.get(*op.namespace, op.key)
        if op.value is None:
            if previous is not None:
                await documents.forget(previous)
            return
        metadata: dict[str, Any] = {"namespace": list(op.namespace), "key": op.key}
        if previous is not None:
            metadata["created_at"] = _created_at(previous).isoformat()
        if op.index is False:
            metadata["index"] = False
        if op.ttl is not None:
            metadata["ttl"] = math.ceil(op.ttl * 60)
        await _store(documents, _json(op), metadata, previous)


async def _store(
    documents: Documents, content: str, metadata: dict[str, Any], previous: Memory | None
) -> None:
    namespace = tuple(metadata["namespace"])
    ttl = metadata.get("ttl")
    await documents.put(
        (*namespace, metadata["key"]),
        content,
        metadata=metadata,
        previous=previous,
        labels=[_label(namespace[: depth + 1]) for depth in range(len(namespace))],
        ttl=ttl,
    )


async def _refresh(documents: Documents, memory: Memory) -> None:
    if "ttl" in memory.metadata:
        metadata = memory.metadata | {"created_at": _created_at(memory).isoformat()}
        await _store(documents, await documents.text(memory), metadata, memory)


def _json(op: PutOp) -> str:
    """Return an item's value as JSON.

    Raises:
        TypeError: The value is not a mapping, or has something that JSON does not have.
    """
    if not isinstance(op.value, Mapping):
        raise TypeError(f"value: {type(op.value).__name__} is not a mapping")
    try:
        return written(dict(op.value))
    except (TypeError, ValueError) as error:
        raise TypeError(f"value of {op.key!r}: {error}; give what JSON has") from error


async def _namespaces(documents: Documents, op: ListNamespacesOp) -> list[tuple[str, ...]]:
    conditions = op.match_conditions or ()
    found: set[tuple[str, ...]] = set()
    async for memory in documents.all():
        namespace = tuple(memory.metadata["namespace"])
        if all(_fits(namespace, condition) for condition in conditions):
            found.add(namespace[: op.max_depth])
    return sorted(found)[op.offset : op.offset + op.limit]


def _fits(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    path = condition.path
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[-len(path) :]
    return all(wanted in {"*", given} for given, wanted in zip(part, path, strict=True))


def _matches(value: Any, wanted: Any) -> bool:  # noqa: ANN401 - JSON
    """Return whether a value equals a filter's value or satisfies its operators."""
    if not isinstance(wanted, Mapping):
        return bool(value == wanted)
    if any(key.startswith("$") for key in wanted):
        return all(_compares(value, key, other) for key, other in wanted.items())
    return isinstance(value, Mapping) and all(_matches(value.get(key), each) for key, each in wanted.items())


def _compares(value: Any, key: str, other: Any) -> bool:  # noqa: ANN401 - JSON
    if key not in _OPERATORS:
        raise ValueError(f"filter: unknown operator {key!r}; use one of {', '.join(_OPERATORS)}")
    if key in {"$eq", "$ne"}:
        return _OPERATORS[key](value, other)
    return value is not None and _OPERATORS[key](float(value), float(other))


def _label(namespace: tuple[str, ...]) -> str:
    return name("in:", *namespace)


async def _fields(documents: Documents, memory: Memory) -> dict[str, Any]:
    return {
        "value": read(await documents.text(memory)),
        "key": memory.metadata["key"],
        "namespace": tuple(memory.metadata["namespace"]),
        "created_at": _created_at(memory),
        "updated_at": memory.time,
    }


def _created_at(memory: Memory) -> datetime:
    """Return when the first version of an item was stored, which later versions keep."""
    kept = memory.metadata.get("created_at")
    return memory.time if kept is None else datetime.fromisoformat(kept)
