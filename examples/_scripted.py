"""Models for the examples when no key is set: the real SDKs talk to a scripted endpoint on a loopback port.

A program of your own does not need this module: leave out the call of `without`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What a model returns: a text, or a call of a tool."""

    text: str = ""
    tool: str = ""
    arguments: Json = field(default_factory=dict)
    if_sent: str = ""


def says(text: str, *, if_sent: str = "") -> Reply:
    """Return a reply with a text; "I do not know." unless the request contains `if_sent`."""
    return Reply(text, if_sent=if_sent)


def calls(tool: str, **arguments: object) -> Reply:
    """Return a reply that calls a tool."""
    return Reply(tool=tool, arguments=arguments)


def without(variable: str, *replies: Reply) -> None:
    """Serve a scripted model if this variable is not set, and lead the SDKs of all providers to it."""
    if os.environ.get(variable):
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"replies": iter(replies)}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    os.environ |= {
        variable: "offline",
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "ANTHROPIC_BASE_URL": url,
        "GOOGLE_GEMINI_BASE_URL": url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
        "AWS_SECRET_ACCESS_KEY": "offline",
        "AWS_REGION": "us-east-1",
    }


class _Handler(BaseHTTPRequestHandler):
    replies: Iterator[Reply]

    def do_POST(self) -> None:
        request = self.rfile.read(int(self.headers["Content-Length"])).decode()
        path = self.path.partition("?")[0]
        write = next(write for end, write in _FORMATS.items() if path.endswith(end))
        reply = next(self.replies)
        if reply.if_sent not in request:
            reply = says("I do not know.")
        body = json.dumps(write(reply)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _openai_chat(reply: Reply) -> Json:
    message: Json = {"role": "assistant", "content": reply.text or None}
    if reply.tool:
        function = {"name": reply.tool, "arguments": json.dumps(reply.arguments)}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    choice = {"index": 0, "finish_reason": "tool_calls" if reply.tool else "stop", "message": message}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "scripted", "choices": [choice]}


def _openai_responses(reply: Reply) -> Json:
    item: Json = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
    item["content"] = [{"type": "output_text", "text": reply.text, "annotations": []}]
    if reply.tool:
        item = {"type": "function_call", "call_id": "call_1", "name": reply.tool}
        item["arguments"] = json.dumps(reply.arguments)
    common = {"id": "1", "object": "response", "created_at": 0, "model": "scripted", "tools": []}
    return {**common, "tool_choice": "auto", "parallel_tool_calls": False, "output": [item]}


def _anthropic(reply: Reply) -> Json:
    block: Json = {"type": "text", "text": reply.text}
    if reply.tool:
        block = {"type": "tool_use", "id": "call_1", "name": reply.tool, "input": reply.arguments}
    return {
        "id": "1", "type": "message", "role": "assistant", "model": "scripted", "content": [block],
        "stop_reason": "tool_use" if reply.tool else "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip


def _gemini(reply: Reply) -> Json:
    part: Json = {"text": reply.text}
    if reply.tool:
        part = {"functionCall": {"name": reply.tool, "args": reply.arguments}}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    return {"candidates": [candidate], "usageMetadata": usage}


def _bedrock(reply: Reply) -> Json:
    block: Json = {"text": reply.text}
    if reply.tool:
        block = {"toolUse": {"toolUseId": "call_1", "name": reply.tool, "input": reply.arguments}}
    return {
        "output": {"message": {"role": "assistant", "content": [block]}},
        "stopReason": "tool_use" if reply.tool else "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
        "metrics": {"latencyMs": 1},
    }


_FORMATS: dict[str, Callable[[Reply], Json]] = {
    "/chat/completions": _openai_chat,
    "/responses": _openai_responses,
    "/v1/messages": _anthropic,
    ":generateContent": _gemini,
    "/converse": _bedrock,
}
