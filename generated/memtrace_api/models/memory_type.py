"""The values of MemoryType."""

from typing import Literal

MemoryType = Literal["decision", "entity", "episodic", "session"]
