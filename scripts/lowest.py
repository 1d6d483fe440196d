"""Print the lowest versions of what the client, the server and its stores need, as constraints for pip."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def main() -> None:
    """Print one constraint a line."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for line in (*project["dependencies"], *extras["cli"], *extras["server"], *extras["postgres"]):
        needed = Requirement(line)
        lowest = [bound.version for bound in needed.specifier if bound.operator == ">="]
        if lowest:  # our own extras have none
            print(f"{needed.name}=={lowest[0]}")


if __name__ == "__main__":
    main()
