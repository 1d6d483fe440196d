"""Compare server and client with floors and peers that take turns in one run, and print a report."""

from __future__ import annotations

import argparse
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import client, contexts, embedded, flatness, peers, postgres, throughput
from benchmarks.report import Row, table

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "bench"
PARTS = ("throughput", "flatness", "postgres", "contexts", "embedded", "weight", "client")


def main() -> int:
    """Measure the requested parts; return 0 if every target is met."""
    options = parse_arguments()
    FOLDER.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    report = ""
    missed: list[str] = []
    for part in options.only or PARTS:
        print(f"Measuring {part} …", flush=True)
        title, rows = measure(part, is_quick=options.quick)
        report += "\n" + table(title, rows)
        missed += [row.name for row in rows if row.is_met is False]
    minutes = (time.monotonic() - started) / 60
    report += (
        f"\nPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {minutes:.0f} minutes.\n"
    )
    (FOLDER / "report.md").write_text(report, encoding="utf-8")
    print(report)
    print(f"missed: {', '.join(missed)}" if missed else "All targets are met.")
    return int(bool(missed))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="take two minutes, with up to 100,000 memories (default: off)"
    )
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="measure this part; may be repeated (default: all)"
    )
    return parser.parse_args()


def measure(part: str, *, is_quick: bool) -> tuple[str, list[Row]]:
    """Return the title and the rows of one part of the report."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        folder = Path(name)
        parts: dict[str, tuple[str, Callable[[], list[Row]]]] = {
            "throughput": (
                "Writing over HTTP",
                lambda: throughput.measure(folder, rounds=2 if is_quick else 5, seconds=1 if is_quick else 4),
            ),
            "flatness": (
                "Reading, as the data grows",
                lambda: flatness.measure(
                    FOLDER,
                    sizes=[10_000, 100_000] if is_quick else [10_000, 100_000, 1_000_000],
                    rounds=20 if is_quick else 200,
                ),
            ),
            "postgres": (
                "On PostgreSQL",
                lambda: postgres.measure(
                    folder,
                    FOLDER,
                    sizes=[10_000, 100_000] if is_quick else [10_000, 100_000, 1_000_000],
                    rounds=(2, 20) if is_quick else (5, 100),
                    seconds=2 if is_quick else 5,
                ),
            ),
            "client": ("Client", lambda: client.measure(FOLDER, rounds=5 if is_quick else 15)),
            "contexts": (
                "Contexts, as CPU time of the server",
                lambda: contexts.measure(folder, rounds=2 if is_quick else 10),
            ),
            "weight": (
                "Weight, beside SQLite alone",
                lambda: peers.weigh(FOLDER, rounds=10 if is_quick else 100),
            ),
            "embedded": ("Embedded", lambda: embedded.measure(folder, rounds=5 if is_quick else 25)),
        }
        title, work = parts[part]
        return title, work()


if __name__ == "__main__":
    sys.exit(main())
