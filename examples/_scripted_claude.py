#!/usr/bin/env python3
"""The command `claude` for `claude_agent_session.py` when no key is set.

It repeats what the user said first in the transcript that it resumes.
"""

import json
import os
import re
import sys
import uuid
from pathlib import Path
from typing import Any

options = dict(word[2:].partition("=")[::2] for word in sys.argv if word.startswith("--"))
session = options.get("resume") or str(uuid.uuid4())
projects = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude") / "projects"
transcript = projects / re.sub(r"[^a-zA-Z0-9]", "-", str(Path.cwd())) / f"{session}.jsonl"
known = [json.loads(line) for line in transcript.open("rb")] if transcript.exists() else []


def send(kind: str, **fields: object) -> None:
    """Send a message to the SDK."""
    print(json.dumps({"type": kind, "session_id": session, **fields}), flush=True)


def entry(role: str, content: object) -> dict[str, Any]:
    """Return a line of the transcript."""
    message = {"role": role, "content": content}
    return {"type": role, "uuid": str(uuid.uuid4()), "sessionId": session, "message": message}


for line in sys.stdin:
    received = json.loads(line)
    if received["type"] == "control_request":
        send("control_response", response={"subtype": "success", "request_id": received["request_id"]})
    if received["type"] != "user":
        continue
    said = [each["message"]["content"] for each in known if each["type"] == "user"]
    text = f"You told me: {said[0]}" if said else "Noted."
    content = [{"type": "text", "text": text}]
    entries = [entry("user", received["message"]["content"]), entry("assistant", content)]
    send("transcript_mirror", filePath=str(transcript), entries=entries)
    send("assistant", message={"role": "assistant", "model": "scripted", "content": content})
    took = {"duration_ms": 0, "duration_api_ms": 0, "num_turns": 1}
    send("result", subtype="success", is_error=False, result=text, **took)
