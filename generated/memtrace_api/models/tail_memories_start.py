"""The values of TailMemoriesStart."""

from typing import Literal

TailMemoriesStart = Literal["beginning", "now"]
