"""The report: rows of measurements, with comparisons and targets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from attrs import frozen


@frozen
class Row:
    """A measurement with its unit, its comparison, their ratio, and the target of the ratio."""

    name: str
    measured: str
    compared: str = ""
    ratio: float | None = None
    target: str = ""
    is_met: bool | None = None


def at_least(name: str, measured: str, compared: str, ratio: float, bound: float) -> Row:
    """Return a row whose ratio should not be below a bound."""
    return Row(name, measured, compared, ratio, f"≥ {bound:g}", ratio >= bound)


def at_most(name: str, measured: str, compared: str, ratio: float, bound: float) -> Row:
    """Return a row whose ratio should not be above a bound."""
    return Row(name, measured, compared, ratio, f"≤ {bound:g}", ratio <= bound)


def median(numbers: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(numbers)


def percentile(numbers: Sequence[float], share: float) -> float:
    """Return the number that a share of the numbers does not exceed; infinity without numbers."""
    if not numbers:
        return math.inf
    return sorted(numbers)[min(int(len(numbers) * share), len(numbers) - 1)]


def milliseconds(seconds: float) -> str:
    """Return seconds as a text for people."""
    return f"{seconds * 1_000:.3g} ms"


def table(title: str, rows: Sequence[Row]) -> str:
    """Return the rows as a table in markdown."""
    lines = [
        f"### {title}",
        "",
        "| | measured | compared with | ratio | target | |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        verdict = {None: "", True: "met", False: "**missed**"}[row.is_met]
        lines.append(f"| {row.name} | {row.measured} | {row.compared} | {ratio} | {row.target} | {verdict} |")
    return "\n".join(lines) + "\n"
