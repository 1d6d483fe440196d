"""Defects: a bare 500 for the client, and a traceback in the log."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from live import LiveServer

from memtrace import Memtrace, ServerError

SECRET = "xyzzy-secret"  # stored, and never to be in a response
NO_JSON = "UPDATE sessions SET metadata = ?", ["{" + SECRET]
NO_TEXT = "UPDATE sessions SET metadata = CAST(? AS TEXT)", [SECRET.encode() + b"\xff"]


def damage(file: Path, statement: tuple[str, list[str] | list[bytes]]) -> None:
    """Write to the file what no server writes, so that reading fails."""
    with closing(sqlite3.connect(file)) as database, database:
        assert database.execute(*statement).rowcount == 1


def test_defect_of_a_server_is_logged_with_its_traceback(tmp_path: Path) -> None:
    with LiveServer(tmp_path) as server, httpx.Client(headers={"x-api-key": server.key}) as client:
        sessions = f"{server.url}/api/v1/sessions"
        session = client.post(sessions, json={"agent_id": "a", "metadata": {"x": 1}}).json()
        damage(tmp_path / "memtrace.db", NO_JSON)
        response = client.put(f"{sessions}/{session['id']}", json={"metadata": {"y": 2}})

    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert SECRET not in response.text
    request_id = response.headers["x-request-id"]
    [line] = [json.loads(line) for line in server.log if '"error"' in line and request_id in line]
    assert line["message"] == f"{request_id}: a defect"
    assert re.match(r' *File ".*", line \d+, in \w+\n', line["traceback"])
    assert line["traceback"].endswith("DecodeError")
    assert SECRET not in "".join(server.log)


def test_defect_of_an_embedded_store_is_logged_with_its_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "agent.db"
    with Memtrace(f"sqlite:///{file}", max_retries=0) as client:
        session = client.create_session(agent_id="a", metadata={"x": 1})
        damage(file, NO_JSON)
        with caplog.at_level(logging.ERROR, "memtrace_server"), pytest.raises(ServerError) as caught:
            client.update_session(session.id, metadata={"y": 2})

    assert (caught.value.status_code, caught.value.code) == (500, "internal_error")
    [record] = [record for record in caplog.records if record.name == "memtrace_server"]
    assert record.getMessage() == f"{caught.value.request_id}: a defect"
    assert record.exc_info is not None


def test_text_that_sqlite_cannot_read_is_no_defect(tmp_path: Path) -> None:
    file = tmp_path / "agent.db"
    with Memtrace(f"sqlite:///{file}", max_retries=0) as client:
        session = client.create_session(agent_id="a", metadata={"x": 1})
        damage(file, NO_TEXT)
        for call in (client.get_session, client.close_session):
            with pytest.raises(ServerError, match="storage is not available") as caught:
                call(session.id)
            assert (caught.value.status_code, caught.value.code) == (503, "unavailable")
