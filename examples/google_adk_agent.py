"""Google ADK: a session goes into the memory service, and what fits a question comes back in the next one.

pip install 'memtrace-sdk[server,google-adk]'
"""

import asyncio
import os

from _scripted import says, without
from google.adk.agents import LlmAgent
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.adk.tools.preload_memory_tool import preload_memory_tool
from google.genai.types import Content, Part

from memtrace.integrations.google_adk import MemtraceMemoryService

without("GOOGLE_API_KEY", says("Noted."), says("The walnut cake.", if_sent="allergic to nuts"))

memory = MemtraceMemoryService(os.environ.get("MEMTRACE_URL", "sqlite:///agent.db"))
sessions = InMemorySessionService()
agent = LlmAgent(name="seller", model="gemini-3.5-flash", tools=[preload_memory_tool])
runner = Runner(app_name="bakery", agent=agent, session_service=sessions, memory_service=memory)


async def ask(question: str) -> None:
    session = await sessions.create_session(app_name="bakery", user_id="ann")
    message = Content(role="user", parts=[Part(text=question)])
    async for event in runner.run_async(user_id="ann", session_id=session.id, new_message=message):
        if event.is_final_response() and event.content and event.content.parts:
            print(event.content.parts[0].text)
    if ended := await sessions.get_session(app_name="bakery", user_id="ann", session_id=session.id):
        await memory.add_session_to_memory(ended)


asyncio.run(ask("I am allergic to nuts"))
asyncio.run(ask("Which cake is wrong for someone allergic?"))
