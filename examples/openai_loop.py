"""A loop around the OpenAI API: the agent's context goes into the prompt, and what is said into its memory.

pip install 'memtrace-sdk[server]' openai
"""

import os

from _scripted import says, without
from openai import OpenAI

from memtrace import Memtrace

without("OPENAI_API_KEY", says("Noted."), says("The walnut cake.", if_sent="allergic to nuts"))

model = OpenAI()
memory = Memtrace(os.environ.get("MEMTRACE_URL", "sqlite:///agent.db"))


def answer(question: str) -> str:
    memory.remember("bakery", question, event_type="user")
    known = memory.get_agent_context("bakery", query=question, max_tokens=2_000)
    response = model.responses.create(
        model="gpt-5.4-mini",
        instructions=f"You sell cakes. Answer in one sentence.\n\n{known.context}",
        input=question,
    )
    memory.remember("bakery", response.output_text, event_type="assistant")
    return response.output_text


print(answer("I am allergic to nuts"))
print(answer("Which cake is not for me?"))
