"""A loop around any endpoint that is compatible with OpenAI's: Ollama, vLLM, llama.cpp, OpenRouter.

pip install 'memtrace-sdk[server]'
OPENAI_BASE_URL=http://localhost:11434/v1 MODEL=llama3.3 python examples/compatible_loop.py
"""

import os

import httpx
from _scripted import says, without

from memtrace import Memtrace

without("OPENAI_BASE_URL", says("Noted."), says("The walnut cake.", if_sent="allergic to nuts"))

memory = Memtrace(os.environ.get("MEMTRACE_URL", "sqlite:///agent.db"))
endpoint = os.environ["OPENAI_BASE_URL"]
headers = {"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', 'none')}"}


def answer(question: str) -> str:
    memory.remember("bakery", question, event_type="user")
    known = memory.get_agent_context("bakery", query=question, max_tokens=2_000)
    messages = [
        {"role": "system", "content": f"You sell cakes. Answer in one sentence.\n\n{known.context}"},
        {"role": "user", "content": question},
    ]
    body = {"model": os.environ.get("MODEL", "llama3.3"), "messages": messages}
    response = httpx.post(f"{endpoint}/chat/completions", headers=headers, json=body, timeout=120)
    text: str = response.raise_for_status().json()["choices"][0]["message"]["content"]
    memory.remember("bakery", text, event_type="assistant")
    return text


print(answer("I am allergic to nuts"))
print(answer("Which cake is not for me?"))
