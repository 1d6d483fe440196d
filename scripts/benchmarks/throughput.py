"""Writing over HTTP, the full stack in one server process."""

from __future__ import annotations

import time
from pathlib import Path

from attrs import evolve

from benchmarks.floor import Floor
from benchmarks.load import Load, Outcome, apply
from benchmarks.report import Row, at_least, at_most, median, milliseconds, percentile
from benchmarks.server import KEY, Server

_BATCH = 1_000
_WARM_UP = 4  # seconds
_LOWEST_RATE = 2_000  # acknowledged writes a second at 32 clients
_LONGEST_READ = 0.050  # seconds, p99, under full write load


def measure(folder: Path, *, rounds: int, seconds: float) -> list[Row]:
    """Measure a number of rounds of some seconds each, in which the compared servers take turns."""
    with (
        Server(folder, "grouped") as grouped,
        Server(folder, "ungrouped", is_grouped=False) as ungrouped,
        Floor(folder / "batches.db") as floor,
        Floor(folder / "searchable.db") as searchable,
    ):
        load = Load(url=grouped.url, key=KEY, seconds=seconds)
        alone = evolve(load, url=ungrouped.url)
        for server in (
            load,
            alone,
        ):  # until the WAL is overwritten rather than extended, as it is from then on
            apply(evolve(server, writers=1, batch=_BATCH, seconds=_WARM_UP))
        rows: list[Row] = []
        for clients in (1, 32, 128):
            rows += _compare(evolve(load, writers=clients), evolve(alone, writers=clients), rounds)
        keyed = evolve(load, writers=32, with_idempotency_key=True)
        rows.append(_keyed([apply(keyed) for _ in range(rounds)]))
        rows += _batches(evolve(load, writers=1, batch=_BATCH), floor, searchable, rounds)
        both = evolve(load, writers=32, readers=4)
        rows.append(_reads([apply(both) for _ in range(rounds)]))
        return rows


def _compare(grouped: Load, ungrouped: Load, rounds: int) -> list[Row]:
    pairs = [(apply(grouped), apply(ungrouped)) for _ in range(rounds)]
    rate, rate_alone = (median(pair[n].rate for pair in pairs) for n in (0, 1))
    ratio = median(one.rate / other.rate for one, other in pairs)
    name = f"{grouped.writers} client{'s' if grouped.writers > 1 else ''}, single writes"
    measured = f"{rate:,.0f}/s, {_latencies([one for one, _ in pairs])}"
    compared = f"a commit each: {rate_alone:,.0f}/s, {_latencies([other for _, other in pairs])}"
    if grouped.writers != 32:  # noqa: PLR2004 - the number of clients that has targets
        return [Row(name, measured, compared, ratio)]
    return [
        at_least(name, measured, compared, ratio, 4),
        at_least(
            "the same, against 2,000/s", f"{rate:,.0f}/s", f"{_LOWEST_RATE:,}/s", rate / _LOWEST_RATE, 1
        ),
    ]


def _keyed(outcomes: list[Outcome]) -> Row:
    rate = median(outcome.rate for outcome in outcomes)
    return Row(
        "32 clients, single writes, each with an Idempotency-Key", f"{rate:,.0f}/s, {_latencies(outcomes)}"
    )


def _batches(load: Load, floor: Floor, searchable: Floor, rounds: int) -> list[Row]:
    rates: list[tuple[float, float, float]] = []
    for _ in range(rounds):
        ours = apply(load).rate * _BATCH
        rates.append((ours, _raw(floor, load.seconds), _raw(searchable, load.seconds, "words", "pieces")))
    rate, raw, indexed = (median(each[n] for each in rates) for n in range(3))
    compared = f"raw executemany, no full text: {raw:,.0f} rows/s"
    return [
        at_least(
            "1 client, batches of 1,000",
            f"{rate:,.0f} memories/s",
            compared,
            median(one / other for one, other, _ in rates),
            0.35,
        ),
        Row(
            "raw executemany, with two full-text indexes as ours",
            f"{indexed:,.0f} rows/s",
            compared,
            median(other / one for _, one, other in rates),
        ),
    ]


def _raw(floor: Floor, seconds: float, *indexes: str) -> float:
    """Return the rows a second, in batches."""
    started, inserted = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        floor.insert(_BATCH, *indexes)
        inserted += _BATCH
    return inserted / (time.perf_counter() - started)


def _reads(outcomes: list[Outcome]) -> Row:
    worst = median(percentile(outcome.reads, 0.99) for outcome in outcomes)
    usual = median(percentile(outcome.reads, 0.5) for outcome in outcomes)
    rate = median(outcome.rate for outcome in outcomes)
    return at_most(
        "recall of 100 by 4 readers while 32 clients write",
        f"p50 {milliseconds(usual)}, p99 {milliseconds(worst)}, at {rate:,.0f} writes/s",
        f"p99 {milliseconds(_LONGEST_READ)}",
        worst / _LONGEST_READ,
        1,
    )


def _latencies(outcomes: list[Outcome]) -> str:
    p50, p99 = (median(percentile(o.writes, share) for o in outcomes) for share in (0.5, 0.99))
    return f"p50 {milliseconds(p50)}, p99 {milliseconds(p99)}"
