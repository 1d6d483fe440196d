"""Measure search on a labelled log, compared with FTS5's own ranking, and the effect of each rule.

Half of the questions are held out. Tune on the others (`--tune`); the report shows both.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from statistics import mean, quantiles
from unittest.mock import patch

from attrs import evolve
from evaluation import log, peers

from memtrace_server import folding
from memtrace_server.search import analysis, dates, documents, plan, query, ranking

ROOT = Path(__file__).parent.parent
PARTS = 24
LARGE = 100_000
TARGETS = {"p50": 10.0, "p95": 20.0}  # ms, at LARGE memories


def main() -> int:
    """Print the report; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tune", action="store_true", help="ask only the questions that are not held out (default: all)"
    )
    parser.add_argument("--only", choices=("quality", "speed"), help="measure this part (default: both)")
    options = parser.parse_args()
    questions = log.make().questions
    sets = {"tuned on": [q for q in questions if not q.is_held_out]}
    if not options.tune:
        sets["held out"] = [q for q in questions if q.is_held_out]
    with peers.clock():
        if options.only != "speed":
            print(quality(sets))
            print(rules(sets))
            print(kinds(sets))
            print(of_agents(is_tuning=options.tune))
        report, is_met = speed(sets) if options.only != "quality" else ("", True)
        print(report)
    return 0 if is_met else 1


# --- how well


def quality(sets: Mapping[str, Sequence[log.Question]]) -> str:
    """Compare the searches."""
    whole = log.make()
    lines = [
        f"{len(whole.memories):,} memories; {PARTS} small logs of the same.\n",
        table_head("questions", "search", *peers.MEASURES),
    ]
    with stores() as (memtrace, small):
        compared: dict[str, tuple[peers.Peer, Sequence[peers.Peer]]] = {
            "FTS5, porter, any word, bm25()": (peers.FullText(whole.memories), full_texts()),
            "Memtrace": (memtrace, small),
        }
        for name, questions in sets.items():
            for peer, (searcher, parts) in compared.items():
                found = peers.scores(searcher, questions, session_of())
                lines.append(measured(f"{len(questions)} {name}", peer, found))
                lines.append(measured(f"{name}, in small logs", peer, in_parts(parts, questions)))
    return "\n".join(lines)


def kinds(sets: Mapping[str, Sequence[log.Question]]) -> str:
    """Compare them by kind of question."""
    whole = log.make()
    full_text = peers.FullText(whole.memories)
    name, questions = list(sets.items())[-1]
    lines = [table_head(f"kind, {name}", "questions", "FTS5 recall@5", "Memtrace recall@5")]
    with search(whole.memories) as memtrace:
        for kind in dict.fromkeys(question.kind for question in questions):
            some = [question for question in questions if question.kind == kind]
            both = [peers.scores(peer, some, session_of())["recall@5"] for peer in (full_text, memtrace)]
            lines.append(row(kind, str(len(some)), *(f"{value:.3f}" for value in both)))
    return "\n" + "\n".join(lines)


def rules(sets: Mapping[str, Sequence[log.Question]]) -> str:
    """Print how much the mean of the measures falls without each rule."""
    columns = [f"{name}, {size}" for name in sets for size in ("whole", "small")]
    lines = [table_head("rule: its gain", *columns)]
    with stores() as (memtrace, small):
        whole = means(memtrace, small, sets)
        lines.append(row("all (mean of the measures)", *(f"{value:.3f}" for value in whole)))
        for rule, without in IN_QUERIES.items():
            with without():
                found = means(memtrace, small, sets)
            lines.append(row(rule, *(f"{a - b:+.4f}" for a, b in zip(whole, found, strict=True))))
    for rule, without in IN_INDEX.items():
        with without(), stores() as (memtrace, small):
            found = means(memtrace, small, sets)
        lines.append(row(rule, *(f"{a - b:+.4f}" for a, b in zip(whole, found, strict=True))))
    return "\n" + "\n".join(lines)


def of_agents(*, is_tuning: bool) -> str:
    """Compare the searches on the notes of agents, with their names of code."""
    whole = log.of_agents()
    sessions = {memory["dedup_key"]: memory["session_id"] for memory in whole.memories}
    halves = {"tuned on": False} if is_tuning else {"tuned on": False, "held out": True}
    lines = [
        f"{len(whole.memories):,} notes of coding, operations and support agents.\n",
        table_head("questions", "search", *peers.MEASURES),
    ]

    def measure(name: str, peer: peers.Peer) -> None:
        for half, is_held_out in halves.items():
            questions = [q for q in whole.questions if q.is_held_out == is_held_out]
            found = peers.scores(peer, questions, sessions)
            lines.append(measured(f"{len(questions)} {half}", name, found))

    measure("FTS5, porter, any word, bm25()", peers.FullText(whole.memories))
    for name, without in IN_NAMES.items():
        with without(), search(whole.memories) as memtrace:
            measure(name, memtrace)
    return "\n" + "\n".join(lines)


def means(
    peer: peers.Peer, parts: Sequence[peers.Peer], sets: Mapping[str, Sequence[log.Question]]
) -> list[float]:
    """Return the mean of the measures for each set of questions, in the whole log and in small ones."""
    found: list[float] = []
    for questions in sets.values():
        found.append(mean(peers.scores(peer, questions, session_of()).values()))
        found.append(mean(in_parts(parts, questions).values()))
    return found


def in_parts(parts: Sequence[peers.Peer], questions: Sequence[log.Question]) -> Mapping[str, float]:
    """Ask each question in the small logs that have an answer to it."""
    totals = dict.fromkeys(peers.MEASURES, 0.0)
    number = 0
    for peer, part in zip(parts, log.make().parts(PARTS), strict=True):
        wanted = {question.text for question in questions}
        there = {memory["dedup_key"] for memory in part.memories}
        some = [
            evolve(question, answers=question.answers & there)
            for question in part.questions
            if question.text in wanted
        ]
        for name, value in (peers.scores(peer, some, session_of()) if some else {}).items():
            totals[name] += value * len(some)
        number += len(some)
    return {name: total / number for name, total in totals.items()}


def session_of() -> Mapping[str, str]:
    """Return the session of each memory."""
    return {memory["dedup_key"]: memory["session_id"] for memory in log.make().memories}


def full_texts() -> list[peers.Peer]:
    """Return FTS5 on each small log."""
    return [peers.FullText(part.memories) for part in log.make().parts(PARTS)]


@contextmanager
def stores() -> Iterator[tuple[peers.Memtrace, list[peers.Peer]]]:
    """Yield Memtrace's search on the whole log and on each small one."""
    whole = log.make()
    with ExitStack() as stack:
        memtrace = stack.enter_context(search(whole.memories))
        yield memtrace, [stack.enter_context(search(part.memories)) for part in whole.parts(PARTS)]


def measured(questions: str, peer: str, found: Mapping[str, float]) -> str:
    """Return a row of measures."""
    return row(questions, peer, *(f"{found[name]:.3f}" for name in peers.MEASURES))


Without = Callable[[], AbstractContextManager[object]]


def setting(module: object, **values: object) -> Without:
    """Return a context manager that sets constants of a module."""

    @contextmanager
    def change() -> Iterator[None]:
        with ExitStack() as stack:
            for name, value in values.items():
                stack.enter_context(patch.object(module, name, value))
            yield

    return change


def analysing(**values: object) -> Without:
    """Return a context manager that changes the analysis of texts."""

    @contextmanager
    def change() -> Iterator[None]:
        caches = (analysis._as_word, analysis._as_stem, analysis._stop_words, analysis._stop_stems)  # noqa: SLF001
        for cache in caches:
            cache.cache_clear()
        with setting(analysis, **values)():
            yield
        for cache in caches:
            cache.cache_clear()

    return change


class _NoStemmer:
    def stemWord(self, word: str) -> str:  # noqa: N802 - as the stemmer has it
        return word


IN_QUERIES: Mapping[str, Without] = {
    "stop words": setting(analysis, _stop_words=frozenset[str], _stop_stems=frozenset[str]),
    "a time that is named": setting(dates, named=lambda _text, _now: []),
    "coordination": setting(ranking, _COORDINATION=0.0),
    "what follows a question": setting(ranking, _ANSWER=0.0, _WIDENED=0),
    "what asks the same": setting(ranking, _ECHO=1.0),
    "best of its session": setting(ranking, _SESSION=0.0),
    "misspelt words": setting(plan, _MAX_MISSPELT=0),
}
IN_INDEX: Mapping[str, Without] = {
    "stemming": analysing(_porter=_NoStemmer),
    "irregular forms": analysing(_bases=dict[str, str]),
    "labels and metadata": setting(documents.Document, labels=property(lambda _: "")),
}
IN_NAMES: Mapping[str, Without] = {
    "Memtrace": nullcontext,
    "without parts of names": setting(analysis, further_stems=lambda _text: []),
    "without words written together or apart": setting(query, forms=lambda _text: []),
    "without letters as a keyboard has them": setting(folding, _STROKED=re.compile("(?!)")),
}


# --- how fast


def speed(sets: Mapping[str, Sequence[log.Question]]) -> tuple[str, bool]:
    """Measure the CPU time of a search in the process as the number of memories grows."""
    memories = log.make().memories
    questions = [question for each in sets.values() for question in each]
    lines = [table_head("memories", "search", "p50 (ms)", "p95 (ms)")]
    is_met = True
    for number in (len(memories), LARGE):

        def everything(number: int = number) -> Iterator[Mapping[str, object]]:
            return chain(memories, log.more(number - len(memories)))

        with search(everything()) as memtrace:
            compared: dict[str, peers.Peer] = {
                "FTS5, porter, any word, bm25()": peers.FullText(everything()),
                "Memtrace": memtrace,
            }
            for name, peer in compared.items():
                took = [
                    min(peer.search(question.text)[1] for _ in range(3)) * 1_000 for question in questions
                ]
                p50, p95 = quantiles(took, n=20)[9], quantiles(took, n=20)[18]
                lines.append(row(f"{number:,}", name, f"{p50:.1f}", f"{p95:.1f}"))
        is_met = p50 <= TARGETS["p50"] and p95 <= TARGETS["p95"]
    verdict = "met" if is_met else "MISSED"
    targets = ", ".join(f"{name} at most {limit:.0f} ms" for name, limit in TARGETS.items())
    return "\n" + "\n".join(lines) + f"\n\nTargets at {LARGE:,} memories ({targets}): {verdict}.", is_met


@contextmanager
def search(memories: object) -> Iterator[peers.Memtrace]:
    """Yield Memtrace's search on a new store of some memories."""
    with tempfile.TemporaryDirectory() as folder, closing(peers.Memtrace(Path(folder), memories)) as memtrace:  # type: ignore[arg-type] # any memories
        yield memtrace


def table_head(*names: str) -> str:
    """Return the first two lines of a table in Markdown."""
    return row(*names) + "\n" + row(*("---" for _ in names))


def row(*cells: str) -> str:
    """Return a line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
