"""The model Error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import msgspec

from ..models.error_detail import ErrorDetail
from ..types import (
    AttrsFields,
    PydanticSerializer,
    convert,
    pydantic_schema,
)


class Error(msgspec.Struct, kw_only=True, gc=False):
    """An error.

    Attributes:
        error: What went wrong and how to fix it, for people.
        code: A stable word for what went wrong. 400: `invalid_request`. 401: `unauthorized`. 403:
            `forbidden`, `filter_required`. 404: `not_found`, `unknown_cursor`. 405: `method_not_allowed`.
            408: `request_timeout`. 409: `duplicate_memory`, `already_superseded`, `agent_exists`,
            `idempotency_key_reused`, `answer_forgotten`, `id_taken`. 413: `payload_too_large`. 415:
            `unsupported_media_type`. 429: `rate_limited`. 431: `headers_too_large`. 500: `internal_error`.
            503: `unavailable`, `deadline_exceeded`, `outcome_unknown`. A newer server may send others.
            Memtrace 0.x sends none.
        request_id: Id of this request in the server's log. Memtrace 0.x sends none.
        details: For bad input and conflicts: each field that is wrong.
        existing_id: For a conflict: the id of the existing memory or agent.
    """

    error: str
    code: str | None = None
    request_id: str | None = None
    details: list[ErrorDetail] | None = None
    existing_id: str | None = None

    __pydantic_serializer__: ClassVar[PydanticSerializer] = PydanticSerializer()
    __attrs_attrs__: ClassVar[AttrsFields] = AttrsFields()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Any) -> dict[str, Any]:  # noqa: ANN401
        return pydantic_schema(cls, handler)

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Make one from JSON data; fields that it does not know are ignored.

        Raises:
            ValueError: If a required field is missing, or a value has another type; the text names the field.
        """
        return convert(src_dict, cls)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data, without the fields that are None.

        Raises:
            ValueError: If a time has no time zone; the text names the field.
        """
        data: dict[str, Any] = {
            "error": self.error,
        }
        if self.code is not None:
            data["code"] = self.code
        if self.request_id is not None:
            data["request_id"] = self.request_id
        if self.details is not None:
            data["details"] = [item.to_dict() for item in self.details]
        if self.existing_id is not None:
            data["existing_id"] = self.existing_id
        return data
