"""The errors: one tree, distinguished by class, with all facts of the server's response."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any

import pytest
from helpers.clients import KEY, FakeServer

import memtrace
from memtrace import Memtrace, exceptions
from memtrace.exceptions import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BufferedWriteError,
    ConflictError,
    MemtraceError,
    NoArcInstanceError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseValidationError,
    ServerError,
)
from memtrace.models import AddMemoryRequest, ErrorDetail

TREE = {
    MemtraceError: Exception,
    APIConnectionError: MemtraceError,
    APITimeoutError: APIConnectionError,
    APIStatusError: MemtraceError,
    BadRequestError: APIStatusError,
    AuthenticationError: APIStatusError,
    PermissionDeniedError: APIStatusError,
    NotFoundError: APIStatusError,
    ConflictError: APIStatusError,
    RateLimitError: APIStatusError,
    ServerError: APIStatusError,
    NoArcInstanceError: ServerError,
    BufferedWriteError: MemtraceError,
    ResponseValidationError: MemtraceError,
}


def _drawn() -> dict[str, str]:
    """Return the parent of each class in the tree that the module's docstring draws."""
    parents, path = {"MemtraceError": "Exception"}, ["MemtraceError"]
    for line in inspect.getdoc(exceptions).splitlines():  # type: ignore[union-attr]  # the module has one
        if branch := re.match(r"([│ ]*)[├└]── (\w+)", line):
            depth = len(branch[1]) // 4 + 1
            parents[branch[2]] = path[depth - 1]
            path[depth:] = [branch[2]]
    return parents


def test_errors_form_the_tree_of_the_docstring() -> None:
    assert {kind.__name__: kind.__mro__[1].__name__ for kind in TREE} == _drawn()
    assert {kind: kind.__mro__[1] for kind in TREE} == TREE


def test_package_exports_exactly_the_errors_of_the_tree() -> None:
    assert sorted(exceptions.__all__) == sorted(kind.__name__ for kind in TREE)
    for kind in TREE:
        assert getattr(memtrace, kind.__name__) is kind


@pytest.mark.parametrize("kind", TREE)
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],  # noqa: S301  # our own
    ids=["copied", "copied deeply", "pickled"],
)
def test_every_error_is_pickled_and_copied_with_its_attributes(kind: Any, copied: Any) -> None:
    more: dict[str, Any] = {}
    if issubclass(kind, APIStatusError):
        more["retry_after"] = 1.5
    if issubclass(kind, ConflictError):
        more["existing_id"] = "mem_1"
    if issubclass(kind, BufferedWriteError):
        more["failed"] = [(AddMemoryRequest(agent_id="a", content="b"), "No")]
    error = kind(
        "No",
        418,
        code="a_code",
        request_id="req_1",
        details=[ErrorDetail(field="limit", location="query", message="too large")],
        body={"error": "No"},
        **more,
    )
    error.add_note("and a note")

    again = copied(error)

    assert type(again) is kind
    assert vars(again) == vars(error)
    assert (again.args, str(again)) == (error.args, str(error))


@pytest.mark.parametrize("kind", TREE)
def test_error_has_the_attributes_of_its_constructor(kind: Any) -> None:
    details = [ErrorDetail(field="limit", location="query", message="too large")]
    carried: dict[str, Any] = {
        "code": "a_code",
        "request_id": "req_1",
        "details": details,
        "body": {"error": "No"},
    }
    if issubclass(kind, APIStatusError):
        carried["retry_after"] = 1.5
    if issubclass(kind, ConflictError):
        carried["existing_id"] = "mem_1"
    if issubclass(kind, BufferedWriteError):
        carried["failed"] = [(AddMemoryRequest(agent_id="a", content="b"), MemtraceError("No"))]

    error = kind("No", 499, **carried)

    assert {name: getattr(error, name) for name in carried} == carried
    assert (error.message, error.status_code, error.response) == ("No", 499, None)
    assert error.args == ("No",)


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],  # noqa: S301  # our own
    ids=["copied", "copied deeply", "pickled"],
)
def test_copy_of_an_error_has_no_response_and_so_no_key(
    sdk: Memtrace, fake_server: FakeServer, copied: Any
) -> None:
    fake_server.respond(404, {"error": "No agent", "code": "not_found"})
    with pytest.raises(NotFoundError) as caught:
        sdk.get_agent("agent_1")
    assert caught.value.response is not None
    assert caught.value.response.request.headers["x-api-key"] == KEY

    again = copied(caught.value)

    assert again.response is None
    assert (again.message, again.code, again.body) == ("No agent", "not_found", caught.value.body)
    assert KEY not in repr(vars(again))


def test_text_of_an_error_has_message_status_code_and_request() -> None:
    assert str(MemtraceError("No")) == "No"
    assert str(MemtraceError("No", code="a_code")) == "No (a_code)"
    assert str(MemtraceError("No", 500)) == "No (HTTP 500)"
    assert str(MemtraceError("")) == ""
    assert str(NotFoundError("No agent x", code="not_found", request_id="req_1")) == (
        "No agent x (HTTP 404, not_found, request req_1)"
    )


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (MemtraceError, 0),
        (APIConnectionError, 0),
        (APITimeoutError, 0),
        (BadRequestError, 400),
        (AuthenticationError, 401),
        (PermissionDeniedError, 403),
        (NotFoundError, 404),
        (ConflictError, 409),
        (RateLimitError, 429),
        (ServerError, 500),
        (NoArcInstanceError, 503),
    ],
)
def test_an_error_can_be_raised_without_a_server_as_in_a_mock(kind: Any, status: int) -> None:
    error = kind()

    assert error.status_code == status
    assert error.message
    assert (error.code, error.request_id, error.details, error.body) == (None, None, [], None)


def test_second_argument_of_an_error_is_the_status_as_in_0_2_0() -> None:
    assert MemtraceError("No", 500).status_code == 500


def test_subclass_of_an_error_inherits_its_default_message() -> None:
    class MissingError(NotFoundError): ...

    assert MissingError().message == NotFoundError().message
    assert MissingError("No", retry_after=1.0).retry_after == 1.0


def test_failed_of_an_error_without_memories_is_a_new_empty_list() -> None:
    BufferedWriteError("No").failed.append((AddMemoryRequest(agent_id="a", content="b"), MemtraceError("No")))

    assert BufferedWriteError("No").failed == []


@pytest.mark.parametrize("name", ["existing_id", "args", "response"])
def test_error_refuses_attributes_that_its_class_lacks(name: str) -> None:
    unknown: Any = {name: (1,)}

    with pytest.raises(TypeError, match=f"'{name}'"):
        NotFoundError("No", **unknown)
