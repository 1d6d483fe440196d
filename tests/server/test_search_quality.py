"""The labelled log of `make eval` is large enough, and the ranked search finds its answers."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from evaluation import log, peers


def test_labelled_log_is_large_and_half_of_its_questions_are_held_out() -> None:
    whole = log.make()
    ids = {memory["dedup_key"] for memory in whole.memories}
    held_out = [question for question in whole.questions if question.is_held_out]

    assert len(whole.memories) == len(ids) >= 3_000
    assert len(whole.questions) >= 150
    assert 0.45 < len(held_out) / len(whole.questions) < 0.55
    assert all(question.answers and question.answers <= ids for question in whole.questions)
    assert {question.kind for question in held_out} == {question.kind for question in whole.questions}


def test_ranked_search_finds_more_answers_than_full_text_alone(tmp_path: Path) -> None:
    """Search a quarter of the log, without the held-out questions; `make eval` measures all of it."""
    part = max(log.make().parts(4), key=lambda part: len(part.questions))
    sessions = {memory["dedup_key"]: memory["session_id"] for memory in part.memories}
    there = set(sessions)
    questions = [q for q in part.questions if q.answers <= there and not q.is_held_out]

    with peers.clock(), closing(peers.Memtrace(tmp_path, part.memories)) as memtrace:
        ours = peers.scores(memtrace, questions, sessions)
    theirs = peers.scores(peers.FullText(part.memories), questions, sessions)

    assert len(questions) > 20
    for measure in peers.MEASURES:
        assert ours[measure] > theirs[measure], measure
    assert ours["MRR"] > theirs["MRR"] + 0.15


def test_notes_of_agents_are_found_by_the_words_of_their_names(tmp_path: Path) -> None:
    whole = log.of_agents()
    sessions = {memory["dedup_key"]: memory["session_id"] for memory in whole.memories}

    with peers.clock(), closing(peers.Memtrace(tmp_path, whole.memories)) as memtrace:
        ours = peers.scores(memtrace, whole.questions, sessions)

    assert len(whole.questions) > 60
    assert ours["recall@1"] > 0.95
    assert ours["recall@5"] > 0.98
