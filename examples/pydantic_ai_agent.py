"""Pydantic AI: the agent's context before each run, a record of it after each run, and tools in between.

pip install 'memtrace-sdk[server,pydantic-ai]' 'pydantic-ai-slim[openai]'
"""

import os

from _scripted import calls, says, without
from pydantic_ai import Agent

from memtrace.integrations.pydantic_ai import MemtraceMemory, memtrace_toolset

without(
    "OPENAI_API_KEY",
    says("Noted."),
    calls("search_memory", question="What is the customer allergic to?"),
    says("The walnut cake.", if_sent="user: I am allergic to nuts"),
)
url = os.environ.get("MEMTRACE_URL", "sqlite:///agent.db")
agent = Agent(
    "openai:gpt-5.4-mini",
    instructions="You sell cakes. Answer in one sentence.",
    toolsets=[memtrace_toolset(url, "bakery")],
    capabilities=[MemtraceMemory(url, "bakery")],
)

print(agent.run_sync("I am allergic to nuts").output)
print(agent.run_sync("Which cake is not for me?").output)
