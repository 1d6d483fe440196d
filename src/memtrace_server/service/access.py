"""The rights of a request's key."""

from __future__ import annotations

from memtrace_server import auth
from memtrace_server.contract import Contract
from memtrace_server.messages import Response, answer
from memtrace_server.service import limiting
from memtrace_server.service.call import Call


def get_access(call: Call) -> Response:
    """Return the key's organisation and role, and the operations that it may call."""
    principal = call.principal
    refused = limiting.refused(principal)
    allowed = [
        operation.id
        for operation in Contract.load().operations.values()
        if operation.id not in refused and auth.may(principal, operation.role)
    ]
    access = {"org_id": principal.org_id, "role": principal.role, "operations": allowed}
    if principal.agent_id:
        access["agent_id"] = principal.agent_id
    return answer(200, access)
