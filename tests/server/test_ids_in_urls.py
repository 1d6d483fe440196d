"""Ids in URLs: the server percent-encodes them as it decodes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from server.conftest import Api


pytestmark = pytest.mark.both_stores


@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("org/günther 1", "/api/v1/agents/org%2Fg%C3%BCnther%201"),
        ("a%2Fb?c#d", "/api/v1/agents/a%252Fb%3Fc%23d"),
        ("...", "/api/v1/agents/..."),
    ],
    ids=["slash and space", "percent", "dots"],
)
def test_the_location_of_an_agent_leads_to_it(api: Api, name: str, location: str) -> None:
    response = api("POST", "/api/v1/agents", json={"name": name})

    assert response.headers["Location"] == location
    assert api.get(location)["id"] == name
