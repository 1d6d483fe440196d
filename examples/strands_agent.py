"""Strands Agents: a session that another process goes on with, and a memory that all sessions share.

pip install 'memtrace-sdk[server,strands]'
"""

import os

from _scripted import calls, says, without
from strands import Agent
from strands.models import BedrockModel
from strands.session.repository_session_manager import RepositorySessionManager

from memtrace.integrations.strands import MemtraceMemoryStore, MemtraceSessionRepository

without(
    "AWS_ACCESS_KEY_ID",
    calls("add_memory", entries=["Ann is allergic to nuts"]),
    says("Noted."),
    calls("search_memory", query="What is Ann allergic to?"),
    says("The walnut cake.", if_sent="Ann is allergic to nuts"),
)

url = os.environ.get("MEMTRACE_URL", "sqlite:///agent.db")
repository = MemtraceSessionRepository(url)
store = MemtraceMemoryStore(url, "bakery")


def ask(session_id: str, question: str) -> None:
    agent = Agent(
        model=BedrockModel(model_id="us.anthropic.claude-sonnet-4-6", streaming=False),
        session_manager=RepositorySessionManager(session_id, repository),
        memory_manager={"stores": [store], "add_tool_config": True},
        callback_handler=None,
    )
    print(str(agent(question)).strip())


ask("monday", "I am Ann, and I am allergic to nuts")
ask("friday", "I am Ann. Which cake is not for me?")
