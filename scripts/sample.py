"""Sample memories of two agents over some days, for the demo's page and the screenshots."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from memtrace import Memtrace
from memtrace_server import ids

_MINUTE = timedelta(minutes=1)
_Turn = tuple[str, str, dict[str, Any]]

_SESSIONS: list[tuple[str, str, timedelta, dict[str, Any], list[_Turn]]] = [
    ("support-bot", "chat-anna-1", timedelta(days=9, hours=3), {"customer": "anna", "channel": "chat"}, [
        ("user", "Hi, this is Anna. I moved: my new address is Lindenstraße 12, Berlin.", {"tags": ["address"]}),
        ("assistant", "Thank you, Anna. I have noted Lindenstraße 12, Berlin.", {}),
        ("general", "Anna lives at Lindenstraße 12, Berlin", {"memory_type": "entity", "tags": ["address", "anna"], "importance": 0.8}),
        ("user", "Please call in the afternoon only. I work nights.", {}),
        ("general", "Anna prefers calls in the afternoon, as she works nights", {"memory_type": "entity", "tags": ["preference", "anna"], "importance": 0.7}),
    ]),
    ("support-bot", "chat-anna-2", timedelta(days=2, hours=5), {"customer": "anna", "ticket": 4711}, [
        ("user", "My parcel 4711 has not arrived. It was due on Monday.", {"tags": ["parcel"]}),
        ("assistant", "I am sorry to hear that. Let me ask the carrier.", {}),
        ("action", "Asked the carrier about parcel 4711", {"tags": ["parcel"], "metadata": {"tool": "carrier.track", "parcel": 4711}}),
        ("error", "carrier.track timed out after 30 s; tried again", {"tags": ["carrier"], "metadata": {"attempt": 1}}),
        ("observation", "The carrier says that parcel 4711 was lost on the way from Leipzig", {"tags": ["parcel"]}),
        ("decision", "Refund the 89 € for parcel 4711", {"memory_type": "decision", "importance": 0.9, "tags": ["refund"],
            "metadata": {"reasoning": "The carrier confirmed the loss, and it is below the limit of 100 €", "ticket": 4711}}),
        ("assistant", "The carrier has lost it, I am sorry. I have refunded the 89 € to your card.", {}),
        ("user", "That was quick, thank you! Could you use dark mode in your mails, by the way?", {}),
        ("general", "Anna prefers mails in dark mode", {"memory_type": "entity", "tags": ["preference", "anna"], "importance": 0.6}),
    ]),
    ("support-bot", "chat-boris-1", timedelta(days=1, hours=2), {"customer": "boris"}, [
        ("user", "How do I cancel my subscription?", {}),
        ("assistant", "You can cancel it in your account, under Billing. It then runs until the end of the month.", {}),
        ("general", "Boris thinks about cancelling, since exports are slow", {"memory_type": "entity", "tags": ["boris", "risk"], "importance": 0.7}),
    ]),
    ("research-agent", "paper-42", timedelta(hours=20), {"task": "related work"}, [
        ("action", "Searched for papers on retrieval without embeddings", {"tags": ["search"]}),
        ("observation", "Three papers compare BM25 with dense retrieval on long logs; two prefer BM25 for exact names", {"importance": 0.6}),
        ("decision", "Use BM25 as the baseline", {"memory_type": "decision", "importance": 0.8,
            "metadata": {"reasoning": "It is exact on names and numbers, and needs no model"}}),
    ]),
    ("support-bot", "chat-anna-3", timedelta(minutes=26), {"customer": "anna"}, [
        ("user", "Hello again! I have moved once more, to Hafenweg 3 in Hamburg.", {"tags": ["address"]}),
        ("assistant", "Welcome back, Anna. I have changed your address to Hafenweg 3, Hamburg.", {}),
        ("general", "Anna lives at Hafenweg 3, Hamburg", {"memory_type": "entity", "tags": ["address", "anna"], "importance": 0.8}),
        ("user", "When will the new parcel be here?", {"tags": ["parcel"]}),
        ("action", "Asked the carrier about parcel 5023", {"tags": ["parcel"], "metadata": {"tool": "carrier.track", "parcel": 5023}}),
        ("assistant", "Tomorrow between 14:00 and 16:00, when you are awake.", {}),
    ]),
]  # fmt: skip
_SUPERSEDES = {"Anna lives at Hafenweg 3, Hamburg": "Anna lives at Lindenstraße 12, Berlin"}


def store(client: Memtrace, now: datetime | None = None) -> None:
    """Store the sample as if each memory had been stored at its own time.

    Args:
        client: Where; with an admin's key.
        now: When the last session ended; now by default.
    """
    now = now or datetime.now(UTC)
    records: list[dict[str, Any]] = []
    known: dict[str, str] = {}
    for agent, session, ago, metadata, turns in _SESSIONS:
        start = now - ago
        records.append(
            {
                "kind": "session",
                "id": session,
                "agent_id": agent,
                "metadata": metadata,
                "created_at": start.isoformat(),
            }
        )
        for place, (event_type, content, fields) in enumerate(turns):
            time = start + place * 3 * _MINUTE + timedelta(seconds=7 * place + 3)
            moment = int(time.timestamp() * 1e9)
            # The store's row is the moment of storing; a second sample in the same store needs others.
            known[content] = ids.memory_id(moment, moment - secrets.randbelow(10**9))
            memory = {
                "kind": "memory", "id": known[content], "agent_id": agent, "session_id": session, "event_type": event_type,
                "content": content, "time": time.isoformat(), "created_at": time.isoformat(), **fields,
            }  # fmt: skip
            if content in _SUPERSEDES:
                memory["supersedes"] = known[_SUPERSEDES[content]]
            records.append(memory)
    if rejected := client.import_(records).rejected:
        raise RuntimeError(f"the sample cannot be stored: {rejected[0].reason}")
    for name, description in (
        ("support-bot", "Answers customers, and refunds up to 100 €"),
        ("research-agent", "Reads papers and keeps what matters"),
    ):
        client.register_agent(name, description=description)
