"""Claude's memory tool: Claude keeps files of its own, each of them a memory with a history.

pip install 'memtrace-sdk[server,anthropic]'
"""

import os

from _scripted import calls, says, without
from anthropic import Anthropic

from memtrace.integrations.anthropic import MemtraceMemoryTool

without(
    "ANTHROPIC_API_KEY",
    calls("memory", command="create", path="/memories/ann.md", file_text="Ann is allergic to nuts"),
    says("Noted."),
    calls("memory", command="view", path="/memories/ann.md"),
    says("The walnut cake.", if_sent="allergic to nuts"),
)

claude = Anthropic()
memory = MemtraceMemoryTool(os.environ.get("MEMTRACE_URL", "sqlite:///agent.db"), agent_id="bakery")


def answer(question: str) -> str:
    runner = claude.beta.messages.tool_runner(
        model="claude-sonnet-5-5",
        max_tokens=1_000,
        betas=["context-management-2025-06-27"],
        tools=[memory],
        messages=[{"role": "user", "content": question}],
    )
    return "".join(block.text for block in runner.until_done().content if block.type == "text")


print(answer("I am Ann, and I am allergic to nuts"))
print(answer("I am Ann. Which cake is not for me?"))
