"""Tools around httpx see each request of a client that was made by URL and key alone."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
import vcr  # type: ignore[import-untyped]
from helpers.clients import KEY, MEMORY, MakeClient, page
from live import LiveServer
from pytest_httpx import HTTPXMock

from memtrace import APITimeoutError, Memtrace

URL = "http://memtrace.test"


def test_respx_sees_each_request(make_client: MakeClient) -> None:
    with respx.mock(base_url=URL) as router:
        router.post("/api/v1/memories").mock(return_value=httpx.Response(201, json=MEMORY))
        router.get("/api/v1/memories", params={"agent_id": "agent_1"}).respond(json=page(MEMORY))

        client = make_client(URL)
        assert client.remember("agent_1", "User prefers dark mode").id == MEMORY["id"]
        assert len(client.recall("agent_1")) == 1

        stored, _ = router.calls
        assert json.loads(stored.request.content)["content"] == "User prefers dark mode"
        assert stored.request.headers["x-api-key"] == KEY


@pytest.mark.httpx_mock(can_send_already_matched_responses=True)
def test_pytest_httpx_sees_each_request(
    make_client: MakeClient, httpx_mock: HTTPXMock, delays: list[float]
) -> None:
    httpx_mock.add_response(method="GET", status_code=503, url=f"{URL}/api/v1/agents/a")
    httpx_mock.add_exception(httpx.ReadTimeout("late"), url=f"{URL}/api/v1/agents/b")

    with pytest.raises(Exception, match="503"):
        make_client(URL).get_agent("a")
    with pytest.raises(APITimeoutError, match="late"):
        make_client(URL).get_agent("b")

    assert len(httpx_mock.get_requests()) == 6
    assert len(delays) == 4


def test_vcrpy_records_each_request_and_plays_it_again(
    make_client: MakeClient, live_server: LiveServer, tenant_key: str, tmp_path: Path
) -> None:
    recorder: Any = vcr.VCR(filter_headers=["x-api-key"], match_on=["method", "path", "query"])
    cassette = tmp_path / "memories.yaml"

    def run(url: str) -> list[str]:
        client = make_client(url, tenant_key)
        client.remember("agent_1", "User prefers dark mode")
        contents = [memory.content for memory in client.recall("agent_1")]
        client.close()
        return contents

    with recorder.use_cassette(str(cassette)) as recorded:
        assert run(live_server.url) == ["User prefers dark mode"]
        assert len(recorded) == 2
    assert tenant_key not in cassette.read_text("utf-8")

    with recorder.use_cassette(str(cassette), record_mode="none") as played:
        assert run("http://memtrace.test:1") == ["User prefers dark mode"]
        assert played.play_count == 2


def test_only_one_module_of_the_package_imports_httpx() -> None:
    package = Path(str(importlib.resources.files("memtrace")))
    importing = [
        path.name
        for path in package.rglob("*.py")
        if any(line.strip().startswith("import httpx") for line in path.read_text("utf-8").splitlines())
        and "cli" not in path.parts
    ]

    assert importing == ["_http.py"]
    assert Memtrace.__module__ == "memtrace._sync.client"
