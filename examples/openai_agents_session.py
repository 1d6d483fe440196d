"""The OpenAI Agents SDK: a session that outlives the process, and tools over a memory that outlives sessions.

pip install 'memtrace-sdk[server,openai-agents]'
"""

import asyncio
import os

from _scripted import calls, says, without
from agents import Agent, Runner

from memtrace.integrations.openai_agents import MemtraceSession, memtrace_tools

without(
    "OPENAI_API_KEY",
    calls("remember", content="Ann is allergic to nuts", tags=["food"]),
    says("Noted."),
    calls("search_memory", question="What is Ann allergic to?", limit=5),
    says("The walnut cake.", if_sent="Ann is allergic to nuts"),
)

url = os.environ.get("MEMTRACE_URL", "sqlite:///agent.db")
agent = Agent(name="Bakery", instructions="You sell cakes.", tools=memtrace_tools(url, "bakery"))


async def main() -> None:
    monday, friday = MemtraceSession("monday", url), MemtraceSession("friday", url)
    told = await Runner.run(agent, "I am Ann, and I am allergic to nuts", session=monday)
    print(told.final_output)
    asked = await Runner.run(agent, "I am Ann. Which cake is not for me?", session=friday)
    print(asked.final_output)


asyncio.run(main())
