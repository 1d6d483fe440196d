"""The values of ContextFormat."""

from typing import Literal

ContextFormat = Literal["json", "markdown"]
