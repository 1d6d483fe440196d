"""What a key may do, as the server reports it to its client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from server.operations import OPERATIONS

if TYPE_CHECKING:
    from memtrace import AsyncMemtrace


@pytest.mark.anyio
async def test_an_admin_may_call_every_operation_of_its_organisation(client: AsyncMemtrace) -> None:
    access = await client.get_access()

    assert access.role == "admin"
    assert access.org_id.startswith("org_")
    assert access.agent_id is None
    of_the_operator = set() if access.org_id == "org_default" else {"vacuumStore"}
    assert set(access.operations) == OPERATIONS.keys() - of_the_operator
