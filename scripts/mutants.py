"""Change the SDK's code in thousands of small ways, and see how many of them its tests notice.

mutmut makes the changes, in a copy in mutants/, and runs for each the tests that reach it. It takes up again
where it was interrupted. Exits with 1 if too few are noticed; docs/mutants.md says why those survive that do.

mutmut begins with the mutants whose tests are the quickest. So a sample counts when all of it has run.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import re
import resource
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Of all mutants, those that no test reaches among them.
FLOOR = 0.85
# A mutant that hangs is noticed (mutmut names one that must be killed a segfault), and one that a type
# checker refuses cannot be written.
NOTICED = {"killed", "timeout", "segfault", "caught by type check"}
# Bytes of address space for each process: a mutant that never stops growing fails, and the machine goes on.
MEMORY = 4 << 30
# Such as `memtrace._compat.xǁSearchPagesǁtake__mutmut_7: survived`; x marks a function.
_RESULT = re.compile(r"^\s*(([\w.ǁ]+)__mutmut_\d+): ([a-z ]+)$", re.MULTILINE)
# mutmut makes all mutants before it runs this one.
_ANY = "memtrace._compat.x_page_after__mutmut_1"


def main() -> int:
    """Run the mutants, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="run only these, such as 'memtrace._retry*' (default: all)")
    parser.add_argument(
        "--sample", type=int, metavar="N", help="run N of all, chosen at random (default: all)"
    )
    parser.add_argument("--seed", type=int, default=1, help="choose with this seed (default: 1)")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count(),
        help="run this number at a time (default: one for each processor)",
    )
    parser.add_argument(
        "--report", action="store_true", help="print the report of the last run, and run none (default: off)"
    )
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    run = partial(_mutmut, "run", "--max-children", str(options.jobs))
    names: list[str] = options.names
    if options.sample:
        if not options.report and (ran := run(_ANY)).returncode:
            return ran.returncode
        everything = sorted(found[1] for found in _RESULT.finditer(_results()))
        names = random.Random(options.seed).sample(everything, min(options.sample, len(everything)))  # noqa: S311
    if not options.report and (ran := run(*names)).returncode:
        return ran.returncode
    by_module = outcomes(_results(), set(names) if options.sample else None)
    total = sum(by_module.values(), Counter[str]())
    print(f"{'':35} noticed        of  survived  timeout")
    for module, counts in sorted(by_module.items()):
        print(_line(module, counts))
    print(_line("all", total))
    if total["not checked"]:
        print(f"{total['not checked']} were not run")
        return int(bool(options.sample) or _share(total) < FLOOR)
    if options.sample:
        low, high = interval(_noticed(total), _checked(total))
        print(f"With 95 % confidence, {low:.1%} to {high:.1%} of all mutants are noticed.")
    return int(_share(total) < FLOOR)


def outcomes(text: str, chosen: set[str] | None = None) -> dict[str, Counter[str]]:
    """Read mutmut's results: how many mutants of each module, all or those chosen, came to which end."""
    by_module: dict[str, Counter[str]] = {}
    for name, function, outcome in _RESULT.findall(text):
        if chosen is None or name in chosen:
            by_module.setdefault(function.rpartition(".")[0], Counter())[outcome] += 1
    return by_module


def interval(noticed: int, checked: int) -> tuple[float, float]:
    """Return the confidence interval of the share of noticed mutants (Wilson's score interval)."""
    z = 1.96
    share, room = noticed / checked, z * z / checked
    spread = z * math.sqrt(share * (1 - share) / checked + room / checked / 4)
    return (share + room / 2 - spread) / (1 + room), (share + room / 2 + spread) / (1 + room)


def _line(name: str, counts: Counter[str]) -> str:
    return (
        f"{name:35} {_share(counts):7.1%} {_checked(counts):9} {_checked(counts) - _noticed(counts):9}"
        f" {counts['timeout']:8}"
    )


def _checked(counts: Counter[str]) -> int:
    return counts.total() - counts["not checked"]


def _noticed(counts: Counter[str]) -> int:
    return sum(counts[outcome] for outcome in NOTICED)


def _share(counts: Counter[str]) -> float:
    return _noticed(counts) / max(1, _checked(counts))


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
