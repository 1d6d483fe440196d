"""The values of ErrorDetailLocation."""

from typing import Literal

ErrorDetailLocation = Literal["body", "header", "path", "query"]
