"""The model Health."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import msgspec

from ..types import (
    AttrsFields,
    PydanticSerializer,
    convert,
    pydantic_schema,
)


class Health(msgspec.Struct, kw_only=True, gc=False):
    """State of the server.

    Attributes:
        status: `ok` if the server works.
        service: Always `memtrace`.
        version: The server's version.
        uptime: Seconds since the server started. Memtrace 0.x sends text.
    """

    status: str
    service: str | None = None
    version: str | None = None
    uptime: float | str | None = None

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
            "status": self.status,
        }
        if self.service is not None:
            data["service"] = self.service
        if self.version is not None:
            data["version"] = self.version
        if self.uptime is not None:
            data["uptime"] = self.uptime
        return data
