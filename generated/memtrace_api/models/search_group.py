"""The values of SearchGroup."""

from typing import Literal

SearchGroup = Literal["session"]
