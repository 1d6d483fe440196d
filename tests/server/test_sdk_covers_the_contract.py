"""Every operation of the contract has a public method on both clients, which requests it."""

from __future__ import annotations

import asyncio
import inspect
import re
from typing import Any

import httpx
import pytest
from server.operations import OPERATIONS, Operation

from memtrace import AsyncMemtrace, Memtrace, MemtraceError

# Methods with another name than their operation.
NAMES = {
    "getHealth": "health",
    "getReady": "ready",
    "forgetMemory": "forget",
    "forgetMatching": "forget_all",
    "importRecords": "import_",
    "vacuumStore": "vacuum",
    "listAgentMemories": "get_agent_memories",
    "listSessionMemories": "get_session_memories",
}


def method_name(operation: Operation) -> str:
    return NAMES.get(operation.id) or re.sub("[A-Z]", lambda c: f"_{c[0].lower()}", operation.id)


def arguments(method: Any, operation: Operation) -> dict[str, Any]:
    """Return arguments for a method from the contract's examples; ids for those that are required."""
    request = operation.request()
    examples = {**(request["json"] or {}), **request["params"]}
    parameters = inspect.signature(method).parameters.values()
    required: dict[str, Any] = {
        p.name: "mem_01JD5P8E6W3M9V2QXA7RKB4TNC" for p in parameters if p.default is p.empty
    }
    if "records" in required:
        required["records"] = [{"kind": "agent", "id": "a"}]
    return required | {p.name: examples[p.name] for p in parameters if p.name in examples}


IN_A_URL = {"forgetMemories"}  # does what forgetMatching does, for clients that write a URL by hand
OF_THE_SDK = [o for o in OPERATIONS.values() if not o.is_page and o.id not in IN_A_URL]


@pytest.mark.parametrize("operation", OF_THE_SDK, ids=lambda o: o.id)
def test_every_operation_has_a_method_that_requests_it(operation: Operation) -> None:
    sent: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(400, json={"error": "refused", "code": "invalid_request", "request_id": "r"})

    with httpx.Client(transport=httpx.MockTransport(refuse)) as http:
        client = Memtrace("http://x", http_client=http)
        method = getattr(client, method_name(operation))
        with pytest.raises(MemtraceError):
            method(**arguments(method, operation))

    async def call() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
            client = AsyncMemtrace("http://x", http_client=http)
            method = getattr(client, method_name(operation))
            with pytest.raises(MemtraceError):
                await method(**arguments(method, operation))

    asyncio.run(call())

    path = re.sub(r"\{\w+\}", "[^/]+", operation.path)
    assert len(sent) == 2
    for request in sent:
        assert request.method == operation.method
        assert re.fullmatch(path, request.url.path)


def test_every_exception_names_an_existing_operation() -> None:
    assert NAMES.keys() <= OPERATIONS.keys()
