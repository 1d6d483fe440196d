"""The values of SessionStatus."""

from typing import Literal

SessionStatus = Literal["active", "closed"]
