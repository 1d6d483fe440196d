"""The values of ContextField."""

from typing import Literal

ContextField = Literal["metadata", "tags"]
