"""Measure what a memory costs in the embedded store and in others, and print the table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import peers
from benchmarks.report import table

FOLDER = Path(__file__).parent.parent / "build" / "bench"


def main() -> int:
    """Measure, and also write the table to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=25, help="take this number of turns of 200 writes (default: 25)"
    )
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    report = table("Peers", peers.compare(FOLDER, rounds=options.rounds))
    (FOLDER / "peers.md").write_text(report, encoding="utf-8")
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
