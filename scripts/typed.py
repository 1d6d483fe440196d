"""Check types as users see them: tests/package/typing with pyright, and the types of public names.

mypy checks all the code; pyright is what most editors have, and measures how complete the types of an
installed package are. Exits with 1 if there is anything to say.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# What users install; the second is re-exported by the first, and can be used alone.
PACKAGES = ("memtrace", "memtrace_api")


def main() -> int:
    """Run both checks, and return the exit code."""
    wrong = _pyright().returncode != 0
    for package in PACKAGES:
        problems, symbols = completeness(package)
        print(*problems, sep="\n", end="\n" if problems else "")
        print(f"{package}: {symbols} public names, {len(problems)} without a known type or a docstring")
        wrong = wrong or bool(problems)
    return int(wrong)


def completeness(package: str) -> tuple[list[str], int]:
    """Return the faults of an installed package's public names, and their number."""
    # What httpx lacks is not ours to give, hence --ignoreexternal.
    report = json.loads(_pyright("--verifytypes", package, "--ignoreexternal", "--outputjson").stdout)
    complete: dict[str, Any] = report["typeCompleteness"]
    counts = (*complete["exportedSymbolCounts"].values(), *complete["otherSymbolCounts"].values())
    if not complete["pyTypedPath"] or not sum(counts):
        return [f"{package} is not installed, or not marked as typed"], 0
    problems = [
        f"{symbol['name']}: {' '.join(problem['message'].split())}"
        for symbol in complete["symbols"]
        for problem in symbol["diagnostics"]
        # What is reachable but not offered needs a type, which inference goes through, but no docstring.
        if symbol["isExported"] or problem["severity"] == "error"
    ]
    return problems, sum(counts)


def _pyright(*arguments: str) -> subprocess.CompletedProcess[str]:
    # It looks for packages where the first python of PATH does.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "pyright", *arguments],
        env={**os.environ, "PATH": path},
        cwd=ROOT,
        stdout=subprocess.PIPE if arguments else None,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
