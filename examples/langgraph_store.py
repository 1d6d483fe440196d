"""LangGraph: a graph whose long-term memory is shared by all of its threads.

pip install 'memtrace-sdk[server,langgraph]' langgraph langchain-openai
"""

import os

from _scripted import says, without
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore

from memtrace.integrations.langgraph import MemtraceStore

without("OPENAI_API_KEY", says("Noted."), says("The walnut cake.", if_sent="allergic to nuts"))

model = ChatOpenAI(model="gpt-5.4-mini")
ANN = ("customers", "ann")


def answer(state: MessagesState, *, store: BaseStore) -> dict[str, list[AnyMessage]]:
    question = state["messages"][-1]
    known = [item.value["said"] for item in store.search(ANN, query=question.text)]
    store.put(ANN, question.text, {"said": question.text})
    system = SystemMessage(f"You sell cakes. The customer said before: {known}")
    return {"messages": [model.invoke([system, question])]}


store = MemtraceStore(os.environ.get("MEMTRACE_URL", "sqlite:///agent.db"))
graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile(store=store)
for text in ("I am allergic to nuts", "Which cake is wrong for someone allergic?"):
    result = graph.invoke({"messages": [HumanMessage(text)]})
    print(result["messages"][-1].text)
