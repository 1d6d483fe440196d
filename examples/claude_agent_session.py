"""The Claude Agent SDK: a transcript is kept in Memtrace, and resumed from it, on any machine.

pip install 'memtrace-sdk[server,claude-agent]'
"""

import asyncio
import os
from pathlib import Path

from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, query

from memtrace.integrations.claude_agent import MemtraceSessionStore

store = MemtraceSessionStore(os.environ.get("MEMTRACE_URL", "sqlite:///agent.db"))
without_key = Path(__file__).with_name("_scripted_claude.py")  # leave it out in a program of yours
cli_path = None if os.environ.get("ANTHROPIC_API_KEY") else without_key


async def ask(question: str, session_id: str | None = None) -> str:
    options = ClaudeAgentOptions(session_store=store, resume=session_id, cli_path=cli_path)
    async for message in query(prompt=question, options=options):
        if isinstance(message, ResultMessage):
            print(message.result)
            session_id = message.session_id
    assert session_id is not None
    return session_id


async def main() -> None:
    session_id = await ask("I am allergic to nuts")
    await ask("What did I tell you?", session_id)


asyncio.run(main())
