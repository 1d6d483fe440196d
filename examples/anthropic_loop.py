"""A loop around the Anthropic API: each conversation is a session, and a later one knows the earlier one.

pip install 'memtrace-sdk[server]' anthropic
"""

import os

from _scripted import says, without
from anthropic import Anthropic
from anthropic.types import MessageParam

from memtrace import Memtrace

without("ANTHROPIC_API_KEY", says("Noted."), says("The walnut cake.", if_sent="allergic to nuts"))

claude = Anthropic()
memory = Memtrace(os.environ.get("MEMTRACE_URL", "sqlite:///agent.db"))


def converse(*questions: str) -> None:
    messages: list[MessageParam] = []
    with memory.session("bakery") as session:
        for question in questions:
            session.remember(question, event_type="user")
            known = memory.get_agent_context("bakery", query=question, max_tokens=2_000)
            messages.append({"role": "user", "content": question})
            system = f"You sell cakes. Answer in one sentence.\n\n{known.context}"
            reply = claude.messages.create(
                model="claude-sonnet-5-5", max_tokens=1_000, system=system, messages=messages
            )
            text = "".join(block.text for block in reply.content if block.type == "text")
            messages.append({"role": "assistant", "content": text})
            session.remember(text, event_type="assistant")
            print(text)


converse("I am allergic to nuts")
converse("Which cake is not for me?")
