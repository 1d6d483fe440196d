"""The values of SearchOrder."""

from typing import Literal

SearchOrder = Literal["asc", "desc", "relevance"]
