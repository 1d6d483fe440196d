"""Run the quick start against a real server and show what it remembers."""

from __future__ import annotations

import contextlib
import io
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from live import LiveServer
from snippets import Snippet, snippets

from memtrace import Memory, MemoryList

DOCUMENT = Path(__file__).parent.parent / "tests" / "data" / "python-sdk.md"
URL, KEY = "http://localhost:9100", "mtk_your_api_key"  # As the document has them.


def main() -> None:
    """Start a server, run the document's first two sections against it, stop it."""
    sections = {snippet.heading: snippet for snippet in snippets(DOCUMENT)}
    with tempfile.TemporaryDirectory() as folder, LiveServer(Path(folder)) as server:
        print(f"A Memtrace server listens on {server.url}, with a new SQLite file. It stands in for {URL}.")
        for name in ("Quick Start", "Async Support"):
            # An organisation each: both sections store the same memory, which would be a conflict.
            key = server.create_tenant(name.partition(" ")[0].lower())
            print(f"\n── {name} ──")
            show(sections[name], server.url, key)
    print("\nThe server has stopped. Next: make serve, or README.md.")


def show(section: Snippet, url: str, key: str) -> None:
    """Print each step of a section, run it, and print what came of it."""
    names: dict[str, Any] = {}
    for step in section.steps():
        print(f"\n{step.code.strip()}")
        before = dict(names)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = replace(step, code=step.code.replace(URL, url).replace(KEY, key)).run(names)
        named = [new for name, new in names.items() if new is not before.get(name)]
        results = [value, *(new for new in named if isinstance(new, MemoryList))]
        for line in (*printed.getvalue().splitlines(), *filter(None, map(tell, results))):
            print(f"    → {line}")


def tell(result: object) -> str:
    """What a person wants to know of a result, in a line."""
    match result:
        case Memory():
            return f"stored as {result.id}"
        case MemoryList():
            return f"recalled {result.count}: " + "; ".join(memory.content for memory in result.memories)
        case _:
            return ""


if __name__ == "__main__":
    main()
