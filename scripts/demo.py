"""Run the quick start against a real server, and show what it remembers of a few days of two agents."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import sample
from live import LiveServer
from snippets import Snippet, snippets

from memtrace import AgentContext, Memory, MemoryList, Memtrace, SearchResult

DOCUMENT = Path(__file__).parent.parent / "tests" / "data" / "python-sdk.md"
URL, KEY = "http://localhost:9100", "mtk_your_api_key"  # As the document has them.
LATER = """\
from memtrace import Memtrace

client = Memtrace("http://localhost:9100", "mtk_your_api_key")
# A question is answered
client.search_memories(query="Where does Anna live?", limit=3)
# What a model needs to know, in 300 tokens and no more
context = client.get_agent_context("support-bot", query="Where does Anna live?", max_tokens=300)
print(context.context)
"""


def main() -> None:
    """Start a server, run the document's first two sections and a question against it, and name the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--stay", action="store_true", help="keep the server and its page until Ctrl-C (default: off)"
    )
    stays = parser.parse_args().stay
    sections = {snippet.heading: snippet for snippet in snippets(DOCUMENT)}
    with tempfile.TemporaryDirectory() as folder, LiveServer(Path(folder)) as server:
        print(f"A Memtrace server listens on {server.url}, with a new SQLite file. It stands in for {URL}.")
        for name in ("Quick Start", "Async Support"):
            # An organisation each: both sections store the same memory, which would be a conflict.
            key = server.create_tenant(name.partition(" ")[0].lower())
            print(f"\n── {name} ──")
            show(sections[name], server.url, key)
        print("\n── A few days of two agents later ──")
        with Memtrace(server.url, server.key) as client:
            sample.store(client)
        show(Snippet(Path(__file__), "", 1, LATER), server.url, server.key)
        ask_elsewhere(server)
        print(f"\n── Look at it ──\n\nThe page: {server.url}/ui#key={server.key}")
        print(f"The same over the file, without a server: memtrace ui {server.store_url}")
        if stays:
            print("Ctrl-C stops the server.", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
    hint = "" if stays else " To keep it and its page: make demo ARGS=--stay"
    print(f"\nThe server has stopped.{hint}")


def show(section: Snippet, url: str, key: str) -> None:
    """Print each step of a section, run it, and print its result."""
    names: dict[str, Any] = {}
    for step in section.steps():
        print(f"\n{step.code.strip()}")
        before = dict(names)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = replace(step, code=step.code.replace(URL, url).replace(KEY, key)).run(names)
        named = [new for name, new in names.items() if new is not before.get(name)]
        results = [value, *(new for new in named if isinstance(new, MemoryList | AgentContext))]
        for line in (*printed.getvalue().splitlines(), *filter(None, map(tell, results))):
            print(f"    → {line}")


def ask_elsewhere(server: LiveServer) -> None:
    """Ask the same question in another process, and print the results."""
    arguments = ["search", "Where does Anna live?", "--limit", "1"]
    environment = os.environ | {"MEMTRACE_URL": server.url, "MEMTRACE_API_KEY": server.key}
    command = [sys.executable, "-m", "memtrace", *arguments]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, encoding="utf-8")
    print("\n# Another process sees the same\nmemtrace search 'Where does Anna live?' --limit 1")
    print("".join(f"    → {line}\n" for line in done.stdout.splitlines()), end="")


def tell(result: object) -> str:
    """Return a result as one line for people."""
    match result:
        case Memory():
            return f"stored as {result.id}"
        case MemoryList():
            return f"recalled {result.count}: " + "; ".join(memory.content for memory in result.memories)
        case SearchResult():
            return f"found {result.count}: " + "; ".join(memory.content for memory in result.results)
        case AgentContext():
            omitted = result.omitted_count
            return f"{result.memory_count} memories in {result.token_count} tokens, {omitted} left out"
        case _:
            return ""


if __name__ == "__main__":
    main()
