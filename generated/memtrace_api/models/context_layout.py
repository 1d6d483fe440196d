"""The values of ContextLayout."""

from typing import Literal

ContextLayout = Literal["sections", "timeline"]
