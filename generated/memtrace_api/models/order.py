"""The values of Order."""

from typing import Literal

Order = Literal["asc", "desc"]
