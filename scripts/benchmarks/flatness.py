"""Reading as the data grows.

The times are those of the server's core, from a request to its response, without the network, whose constant
share would flatter the ratios.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from unittest import mock

import msgspec
from attrs import frozen

from benchmarks import data, samples
from benchmarks.report import Row, at_most, median, milliseconds
from memtrace_server import tenants, times
from memtrace_server.auth import Principal
from memtrace_server.core import Core
from memtrace_server.messages import JSON, Request
from memtrace_server.store import open_store

_PAGES = 500
_BOUND = 1.5
_MEDIUM_BOUND = 3.0  # of words that are neither rare nor common, in windows of time
_OK = 200


@frozen
class _Question:
    name: str
    request: Request
    note: str = ""
    bound: float = _BOUND


def measure(folder: Path, *, sizes: list[int], rounds: int) -> list[Row]:
    """Measure a number of rounds of each question, in which the files take turns."""
    return measure_files([data.build(folder, size) for size in sizes], rounds=rounds)


def measure_files(files: Sequence[data.File], *, rounds: int, has_medium: bool = False) -> list[Row]:
    """Measure existing stores; `has_medium` adds words that are neither rare nor common."""
    rows: list[Row] = []
    with ExitStack() as stack:
        tellers: list[_Teller] = []
        for file in files:
            store = stack.enter_context(closing(open_store(file.url)))
            core = Core(store, local=Principal(data.ORG, tenants.DEFAULT_ORG, "reader"))
            tellers.append(_Teller(core, file, has_medium=has_medium))
        for number, question in enumerate(tellers[0].questions):
            seconds = [
                [teller.ask(teller.questions[number].request) for teller in tellers] for _ in range(rounds)
            ]
            middle = [median(column) for column in zip(*seconds, strict=True)]
            rows.append(
                at_most(
                    question.name + (f" ({question.note})" if question.note else ""),
                    " / ".join(map(milliseconds, middle)),
                    " / ".join(f"{file.memories:,}" for file in files),
                    middle[-1] / middle[0],
                    question.bound,
                )
            )
    return rows


class _Teller:
    """Send the questions to one file at the time of its end, so that an old file measures like a new one."""

    def __init__(self, core: Core, file: data.File, *, has_medium: bool) -> None:
        self._core = core
        self._now = file.ends_at
        self._since = file.ends_at - 500 * file.step
        self.questions = self._questions() + (self._medium() if has_medium else [])

    def ask(self, request: Request) -> float:
        """Return the seconds until the response."""
        with mock.patch("memtrace_server.times.now", return_value=self._now):
            started = time.perf_counter()
            response = self._core.handle(request)
            took = time.perf_counter() - started
        if response.status != _OK:
            raise RuntimeError(f"{request} was answered {response.body!r}")
        return took

    def _questions(self) -> list[_Question]:
        of_agent = f"/api/v1/agents/{data.AGENT}"
        deep = f"agent_id={data.AGENT}&limit=10"
        return [
            _Question("newest 100 of an agent", newest_of_agent()),
            _Question("newest 100 of an organisation", _get("/api/v1/memories", "limit=100")),
            _Question(
                f"a page {_PAGES} pages deep", _get("/api/v1/memories", f"{deep}&cursor={self._deep(deep)}")
            ),
            _Question("a rare tag", _get("/api/v1/memories", f"tags={data.RARE_TAG}&limit=100")),
            _Question("statistics of a busy agent", _get(f"{of_agent}/stats")),
            _Question("a rare substring", _search(content_contains=data.RARE_WORD[2:7])),
            _Question("rare decisions of a busy agent", _get(f"{of_agent}/memories", "memory_type=decision")),
            _Question("search of a rare word", _search(query=data.RARE_WORD)),
            _Question("search of a common word, ranked", _search(query=samples.COMMON_WORD)),
            _Question("search of a common word, newest", _search(query=samples.COMMON_WORD, order="desc")),
            _Question(
                "a common word, of an agent that seldom writes",
                _search(query=samples.COMMON_WORD, agent_id=data.SELDOM),
            ),
            _Question(
                "a common word, in the newest 500 memories",
                _search(query=samples.COMMON_WORD, since=times.render(self._since)),
            ),
            _Question("context of a busy session", _post(f"/api/v1/sessions/{data.SESSION}/context", {})),
        ]

    def _medium(self) -> list[_Question]:
        """Yield questions for a word in 1 of 100."""
        word = samples.medium_word(seed=data.SEED)
        return [
            _Question(f"{name} of a word in 1 of 100, {order}", request, bound=_MEDIUM_BOUND)
            for name, order, request in (
                ("search", "ranked", _search(query=word)),
                ("search", "newest", _search(query=word, order="desc")),
                ("a part", "newest", _search(content_contains=word[1:6])),
                ("an agent's search", "newest", _search(query=word, order="desc", agent_id=data.AGENT)),
            )
        ]

    def _deep(self, parameters: str) -> str:
        """Return the cursor of a deep page."""
        cursor = ""
        for _ in range(_PAGES - 1):
            request = _get("/api/v1/memories", parameters + (f"&cursor={cursor}" if cursor else ""))
            with mock.patch("memtrace_server.times.now", return_value=self._now):
                cursor = msgspec.json.decode(self._core.handle(request).body)["next_cursor"]
        return cursor


def newest_of_agent() -> Request:
    """Return a request for the newest 100 memories of the busy agent."""
    return _get("/api/v1/memories", f"agent_id={data.AGENT}&limit=100")


def _get(path: str, query: str = "") -> Request:
    return Request(method="GET", path=path, query=query)


def _search(**query: object) -> Request:
    return _post("/api/v1/search", {"limit": 100, **query})


def _post(path: str, body: object) -> Request:
    return Request(method="POST", path=path, headers={"content-type": JSON}, body=msgspec.json.encode(body))
