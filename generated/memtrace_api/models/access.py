"""The model Access."""

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


class Access(msgspec.Struct, kw_only=True, gc=False):
    """What a key may do.

    Attributes:
        org_id: Id of the organisation that the key belongs to.
        role: `reader`, `writer` or `admin`; a newer server may send others.
        operations: Ids of the operations that the key may call, as this contract names them.
        agent_id: The agent that the key is limited to; missing if the key has no such limit.
    """

    org_id: str
    role: str
    operations: list[str]
    agent_id: str | None = None

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
            "org_id": self.org_id,
            "role": self.role,
            "operations": self.operations,
        }
        if self.agent_id is not None:
            data["agent_id"] = self.agent_id
        return data
