"""The names of the package: exactly these, typed, and cheap to import."""

from __future__ import annotations

import ast
import importlib.resources
import inspect
import json
import logging
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
from memtrace_api import models as generated

import memtrace
from memtrace import (
    AsyncMemtrace,
    AsyncSessionHandle,
    AsyncWriteBuffer,
    Memtrace,
    SessionHandle,
    WriteBuffer,
    exceptions,
    models,
)

_KINDS = [Memtrace, AsyncMemtrace, SessionHandle, AsyncSessionHandle, WriteBuffer, AsyncWriteBuffer]

NAMES_OF_0_2_0 = {
    "__version__",
    "Memtrace",
    "AsyncMemtrace",
    "MemtraceError",
    "AuthenticationError",
    "NotFoundError",
    "ConflictError",
    "NoArcInstanceError",
    "AddMemoryRequest",
    "Agent",
    "AgentList",
    "AgentStats",
    "ContextOptions",
    "CreateSessionRequest",
    "ListOptions",
    "Memory",
    "MemoryList",
    "RegisterAgentRequest",
    "SearchQuery",
    "SearchResult",
    "Session",
    "SessionContext",
    "SessionList",
}

# Methods with another name than their operation.
METHODS = {
    "addMemory": "add_memory",
    "createSession": "create_session",
    "deleteAgent": "delete_agent",
    "deleteSession": "delete_session",
    "forgetMatching": "forget_all",
    "forgetMemories": "forget_all",  # the form for URLs, with fewer filters
    "forgetMemory": "forget",
    "getAccess": "get_access",
    "getAgent": "get_agent",
    "getAgentContext": "get_agent_context",
    "getAgentStats": "get_agent_stats",
    "getHealth": "health",
    "getMemory": "get_memory",
    "getReady": "ready",
    "getSession": "get_session",
    "getSessionContext": "get_session_context",
    "importRecords": "import_",
    "listAgentMemories": "get_agent_memories",
    "listAgents": "list_agents",
    "listMemories": "list_memories",
    "listSessionMemories": "get_session_memories",
    "listSessions": "list_sessions",
    "registerAgent": "register_agent",
    "searchMemories": "search_memories",
    "tailMemories": "tail_memories",
    "updateSession": "update_session",
    "vacuumStore": "vacuum",
}


def _public(kind: type) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_")]


def test_package_offers_exactly_the_names_of_all() -> None:
    # Type checkers find names in one block of imports; other programs import a name on first use.
    tree = ast.parse(inspect.getsource(memtrace))
    for_types = next(node for node in tree.body if isinstance(node, ast.If))
    offered: dict[str, str] = {}
    for node in for_types.body:
        assert isinstance(node, ast.ImportFrom)
        home = str(node.module)
        names = {alias.name for alias in node.names}
        if names == {"*"}:
            names = {*importlib.import_module(home).__all__} & {*memtrace.__all__}
        offered |= dict.fromkeys(names, home)

    assert {*offered, "__version__"} == set(memtrace.__all__)
    assert len(memtrace.__all__) == len(set(memtrace.__all__))
    assert {*exceptions.__all__} <= set(memtrace.__all__)
    for name, home in offered.items():
        assert getattr(memtrace, name) is getattr(importlib.import_module(home), name)
    assert set(memtrace.__all__) <= set(dir(memtrace))


def test_public_modules_need_no_separate_import() -> None:
    code = (
        "import memtrace\n"
        "print(memtrace.exceptions.NotFoundError is memtrace.NotFoundError)\n"
        "print(memtrace.models.Memory is memtrace.Memory)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True
    ).stdout

    assert printed == "True\nTrue\n"


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'memtrace' has no attribute 'Memorandum'"):
        getattr(memtrace, "Memorandum")  # noqa: B009 - type checkers would report it


def test_every_name_and_module_path_of_0_2_0_exists() -> None:
    assert set(memtrace.__all__) >= NAMES_OF_0_2_0
    for name in NAMES_OF_0_2_0 - {"__version__", "Memtrace", "AsyncMemtrace"}:
        module = memtrace.exceptions if name.endswith("Error") else memtrace.models
        assert getattr(module, name) is getattr(memtrace, name)


def test_the_public_models_are_the_generated_ones() -> None:
    for name in set(models.__all__) - {"ImportReport", "RejectedRecord", "StoredMemories", "TimePoint"}:
        assert getattr(models, name) is getattr(generated, name)


def test_every_operation_of_the_contract_has_a_method() -> None:
    contract = json.loads(importlib.resources.files("memtrace_api").joinpath("openapi.json").read_text())
    operations = {
        operation["operationId"]
        for path in contract["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict) and operation["tags"] != ["server"]  # pages
    }

    assert set(METHODS) == operations
    assert set(METHODS.values()) <= set(_public(Memtrace))


@pytest.mark.parametrize(
    ("blocking", "awaited"),
    [(Memtrace, AsyncMemtrace), (SessionHandle, AsyncSessionHandle), (WriteBuffer, AsyncWriteBuffer)],
)
def test_both_clients_have_the_same_methods_with_the_same_arguments(blocking: Any, awaited: Any) -> None:
    assert set(_public(awaited)) - {"aclose"} == set(_public(blocking))
    for name in _public(blocking):
        if inspect.isfunction(getattr(blocking, name)):
            one, other = (inspect.signature(getattr(kind, name)).parameters for kind in (blocking, awaited))
            assert {k: (p.kind, p.default) for k, p in one.items()} == {
                k: (p.kind, p.default) for k, p in other.items()
            }


@pytest.mark.parametrize("kind", _KINDS)
def test_annotations_of_every_method_can_be_evaluated(kind: type) -> None:
    for name in _public(kind):
        method = inspect.getattr_static(kind, name)
        if inspect.isfunction(method):
            hints = typing.get_type_hints(method)
            assert "return" in hints
            # Each keyword has its own name; those of `with_response` depend on its first argument.
            parameters = inspect.signature(method).parameters
            keywords = [p for p in parameters.values() if p.kind is p.VAR_KEYWORD]
            assert not keywords or name == "with_response"
            assert parameters.keys() - {"self"} == hints.keys() - {"return"}


@pytest.mark.parametrize("kind", _KINDS)
def test_every_public_method_has_a_docstring(kind: type) -> None:
    assert [name for name in _public(kind) if not inspect.getdoc(getattr(kind, name))] == []


def test_the_package_is_marked_as_typed() -> None:
    assert importlib.resources.files("memtrace").joinpath("py.typed").is_file()


def test_import_loads_no_module_until_a_name_is_used() -> None:
    code = (
        "import __future__, importlib, sys, typing\n"
        "before = set(sys.modules)\n"
        "import memtrace\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    printed = subprocess.run(
        [sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True
    ).stdout

    assert printed == "['memtrace']\n"


def test_import_loads_no_server_and_configures_no_logging() -> None:
    code = (
        "import sys, logging\n"
        "before = set(sys.modules)\n"
        "from memtrace import *\n"
        "unwanted = 'memtrace_server', 'sqlite3', 'jsonschema_rs', 'starlette'\n"
        "print([name for name in unwanted if name in set(sys.modules) - before])\n"
        "print(logging.getLogger('memtrace').handlers, logging.getLogger('memtrace').level)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True
    ).stdout

    assert printed == f"[]\n[] {logging.NOTSET}\n"


def test_every_argument_of_a_client_is_documented() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "configuration.md").read_text("utf-8")
    arguments = list(inspect.signature(Memtrace).parameters)

    assert [name for name in arguments if f"| `{name}` |" not in page] == []


def test_signatures_exist_without_docstrings() -> None:
    code = (
        "import inspect\n"
        "from memtrace import Memtrace\n"
        "print('tags' in inspect.signature(Memtrace.remember).parameters, Memtrace.remember.__doc__)\n"
    )
    command = [sys.executable, "-I", "-OO", "-c", code]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert printed == "True None\n"
