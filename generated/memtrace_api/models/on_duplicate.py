"""The values of OnDuplicate."""

from typing import Literal

OnDuplicate = Literal["reject", "return", "store"]
