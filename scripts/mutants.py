"""Change the SDK's code in thousands of small ways, and see how many of them its tests notice.

mutmut makes the changes, in a copy in mutants/, and runs for each the tests that reach it. It takes up again
where it was interrupted. Exits with 1 if too few are noticed; docs/mutants.md says why those survive that do.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Of all mutants, those that no test reaches among them.
FLOOR = 0.85
# A mutant that hangs is noticed, and one that a type checker refuses cannot be written.
NOTICED = {"killed", "timeout", "caught by type check"}
# Such as `memtrace._compat.xǁSearchPagesǁtake__mutmut_7: survived`; x marks a function.
_RESULT = re.compile(r"^\s*(([\w.ǁ]+)__mutmut_\d+): ([a-z ]+)$", re.MULTILINE)
# mutmut makes all mutants before it runs this one.
_ANY = "memtrace._compat.x_page_after__mutmut_1"


def main() -> int:
    """Run and report; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these, such as 'memtrace._retry*'")
    parser.add_argument("--sample", type=int, metavar="N", help="only N of all, chosen at random")
    parser.add_argument("--seed", type=int, default=1, help="what the choice depends on (default: 1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at a time")
    parser.add_argument("--report", action="store_true", help="run none; say what the last run found")
    options = parser.parse_args()
    run = partial(_mutmut, "run", "--max-children", str(options.jobs))
    names: list[str] = options.names
    if options.sample and not options.report:
        ran = run(_ANY)
        if ran.returncode:
            return ran.returncode
        names = sorted(found[1] for found in _RESULT.finditer(_results()))
        names = random.Random(options.seed).sample(names, min(options.sample, len(names)))  # noqa: S311
    if not options.report:
        ran = run(*names)
        if ran.returncode:
            return ran.returncode
    by_module = outcomes(_results())
    total = sum(by_module.values(), Counter[str]())
    for module, counts in sorted(by_module.items()):
        print(f"{module:35} {_share(counts):6.1%} of {_checked(counts):4}")
    print(f"{'all':35} {_share(total):6.1%} of {_checked(total):4}, {total['not checked']} not run")
    return int(_share(total) < FLOOR)


def outcomes(text: str) -> dict[str, Counter[str]]:
    """Read mutmut's results: how many mutants of each module came to which end."""
    by_module: dict[str, Counter[str]] = {}
    for _, name, outcome in _RESULT.findall(text):
        by_module.setdefault(name.rpartition(".")[0], Counter())[outcome] += 1
    return by_module


def _checked(counts: Counter[str]) -> int:
    return counts.total() - counts["not checked"]


def _share(counts: Counter[str]) -> float:
    return sum(counts[outcome] for outcome in NOTICED) / max(1, _checked(counts))


def _results() -> str:
    return _mutmut("results", "--all", "true", capture=True).stdout


def _mutmut(*arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
