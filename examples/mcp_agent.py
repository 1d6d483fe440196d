"""MCP: a model that uses the tools of `memtrace mcp` through the official client.

pip install 'memtrace-sdk[mcp,anthropic]'
"""

import asyncio
import os

from _scripted import calls, says, without
from anthropic import AsyncAnthropic
from anthropic.lib.tools.mcp import async_mcp_tool
from mcp import StdioServerParameters
from mcp.client import Client

without(
    "ANTHROPIC_API_KEY",
    calls("memtrace_remember", agent_id="bakery", content="Ann is allergic to nuts"),
    says("Noted."),
    calls("memtrace_search", agent_id="bakery", query="What is Ann allergic to?"),
    says("The walnut cake.", if_sent="Ann is allergic to nuts"),
)
url = os.environ.get("MEMTRACE_URL", "sqlite:///agent.db")


async def main() -> None:
    command = StdioServerParameters(command="memtrace", args=["mcp", "--url", url], env=dict(os.environ))
    async with AsyncAnthropic() as claude, Client(command) as memtrace:
        tools = [async_mcp_tool(tool, memtrace.session) for tool in (await memtrace.list_tools()).tools]
        for question in ("I am Ann, and I am allergic to nuts", "I am Ann. Which cake is not for me?"):
            runner = claude.beta.messages.tool_runner(
                model="claude-sonnet-5-5", max_tokens=1_000, tools=tools,
                system="You sell cakes. Your agent_id is bakery.",
                messages=[{"role": "user", "content": question}],
            )  # fmt: skip
            reply = await runner.until_done()
            print("".join(block.text for block in reply.content if block.type == "text"))


asyncio.run(main())
