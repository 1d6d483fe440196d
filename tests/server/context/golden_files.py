"""Complete contexts in files that can be read and reviewed: `golden/*.yaml`.

Each has the memories, the options and the exact context. To write the contexts again, before reviewing the
difference:

    .venv/bin/python tests/server/context/golden_files.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from memtrace import Memtrace

FOLDER = Path(__file__).parent / "golden"
DOCS = Path(__file__).parents[3] / "docs" / "contexts.md"
SHOWN = re.compile(r"(<!-- golden: ([\w-]+) -->\n\n```text\n)(.*?)(```\n)", re.DOTALL)
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
AGENT, SESSION = "assistant", "s"
_CONTEXT = "context: "


def load(name: str) -> dict[str, Any]:
    """Return a golden file; one that refers to another one gets the memories of that."""
    golden: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_bytes())
    if "memories_of" in golden:
        golden["memories"] = load(golden["memories_of"])["memories"]
    return golden


def context_of(golden: dict[str, Any]) -> str:
    """Return the context of an embedded server for the memories and options of a golden file."""
    of_session = golden["of"] == "session"
    with Memtrace("sqlite://") as client:
        client.register_agent(AGENT)
        if golden["memories"]:
            shared = {"agent_id": AGENT, **({"session_id": SESSION} if of_session else {})}
            client.add_memories([{**shared, **memory} for memory in golden["memories"]])
        options = golden.get("options", {})
        if not of_session:
            return client.get_agent_context(AGENT, **options).context
        session = SESSION if golden["memories"] else client.create_session(AGENT).id
        return client.get_session_context(session, **options).context


def main() -> None:
    """Write the contexts again, in the documentation too."""
    for name in NAMES:
        path = FOLDER / f"{name}.yaml"
        head, _, _ = path.read_text("utf-8").partition(f"\n{_CONTEXT}")
        context = context_of(load(name))
        lines = "".join(f"  {line}".rstrip() + "\n" for line in context.splitlines())
        path.write_text(f"{head.rstrip()}\n{_CONTEXT}|\n{lines}", "utf-8")
    text = SHOWN.sub(lambda found: found[1] + load(found[2])["context"] + found[4], DOCS.read_text("utf-8"))
    DOCS.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
