"""What a buffer holds, when it is due, and what becomes of it: by examples, and against a plain model."""

from __future__ import annotations

import importlib.resources
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from memtrace import AddMemoryRequest, APIConnectionError, BadRequestError, ErrorDetail
from memtrace._buffer import LARGEST_BODY, MOST_IN_BATCH, Backlog, Batch, Failure, Limits, not_stored

GONE = APIConnectionError("gone")
NO = BadRequestError("No")


def content(text: str, **more: Any) -> bytes:
    return json.dumps({"agent_id": "a", "content": text, **more}).encode()


def texts(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [memory["content"] for memory in json.loads(batch.content)["memories"]]


def failures(failed: list[Failure]) -> list[str]:
    return [json.loads(memory)["content"] for memory, _ in failed]


def backlog(*memories: str, **limits: Any) -> Backlog:
    chosen: dict[str, Any] = {"max_batch": 10, "max_delay": 1.0, "max_pending": 100, "max_bytes": 1 << 20}
    made = Backlog(Limits(**{**chosen, **limits}))
    made.add([content(text) for text in memories], 0.0)
    return made


def naming(*fields: str) -> BadRequestError:
    details = [ErrorDetail(field=field, location="body", message="wrong") for field in fields]
    return BadRequestError("No", code="invalid_request", request_id="req_1", details=details)


def test_a_batch_is_as_large_as_the_contract_allows() -> None:
    contract = json.loads(importlib.resources.files("memtrace_api").joinpath("openapi.json").read_text())

    assert (
        contract["components"]["schemas"]["AddMemoriesRequest"]["properties"]["memories"]["maxItems"]
        == MOST_IN_BATCH
    )


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"max_batch": 0}, "max_batch must be from 1 to 1000, not 0"),
        ({"max_batch": 1001, "max_pending": 5000}, "max_batch must be from 1 to 1000, not 1001"),
        ({"max_delay": -0.1}, "max_delay must be 0 or more seconds"),
        ({"max_delay": float("nan")}, "max_delay must be 0 or more seconds"),
        ({"max_delay": float("inf")}, "max_delay must be 0 or more seconds"),
        ({"max_pending": 9}, r"max_pending must be at least max_batch \(10\), not 9"),
        ({"max_bytes": 0}, "max_bytes must be 1 or more"),
    ],
)
def test_limits_that_cannot_work_are_refused(limits: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        backlog(**limits)


@pytest.mark.parametrize("most", [1, MOST_IN_BATCH])
def test_the_smallest_limits_are_fine_and_the_largest_batch(most: int) -> None:
    held = backlog(max_batch=most, max_delay=0, max_pending=most, max_bytes=1)

    assert held.has_room([b"x"])


def test_a_batch_is_due_when_it_is_full_or_its_first_memory_has_waited() -> None:
    held = backlog(max_batch=3)
    assert held.due_in(0.0) is None

    held.add([content("one")], 10.0)
    held.add([content("two")], 10.5)
    assert held.due_in(10.5) == 0.5
    assert held.due_in(11.0) == 0.0
    assert held.due_in(99.0) == 0.0

    held.add([content("three")], 10.6)
    assert held.due_in(10.6) == 0.0


def test_it_is_due_when_its_body_is_large_enough() -> None:
    held = backlog(max_bytes=10 * LARGEST_BODY)
    held.add([content("x" * (LARGEST_BODY - 100))], 0.0)
    assert held.due_in(0.0) == 1.0

    held.add([content("x" * 100)], 0.0)
    assert held.due_in(0.0) == 0.0
    first = held.take()
    assert first is not None
    assert (len(first), len(first.content) <= LARGEST_BODY) == (1, True)


def test_its_bytes_are_counted_until_they_are_sent_or_have_failed() -> None:
    held = backlog(max_bytes=10 * LARGEST_BODY)
    for _ in range(3):
        held.add([b"x" * (LARGEST_BODY - 1)], 0.0)
        assert held.due_in(0.0) == 1.0
        held.add([b"x"], 0.0)
        assert held.due_in(0.0) == 0.0
        while (batch := held.take()) is not None:
            held.stored(batch)

    held.add([content("x" * LARGEST_BODY)], 0.0)
    held.given_up(GONE)
    held.add([b"x" * (LARGEST_BODY - 1)], 0.0)
    assert held.due_in(0.0) == 1.0


@pytest.mark.parametrize(("more", "second"), [(0, [""]), (1, [])])
def test_a_body_is_filled_to_the_last_byte(more: int, second: list[str]) -> None:
    held = backlog(max_bytes=10 * LARGEST_BODY)
    frame = len(Batch(()).content) + len(content("")) * 2 + 2  # a comma after each is counted
    held.add([content("x" * (LARGEST_BODY - frame + more)), content(""), content("")], 0.0)

    assert texts(held.take())[1:] == second


def test_a_memory_larger_than_a_body_goes_alone_and_the_server_may_refuse_it() -> None:
    held = backlog("small", max_bytes=10 * LARGEST_BODY)
    held.add([content("x" * 2 * LARGEST_BODY), content("last")], 0.0)

    sizes = []
    while (batch := held.take()) is not None:
        sizes.append(len(batch))
        held.stored(batch)
    assert sizes == [1, 1, 1]


def test_a_batch_that_was_interrupted_is_sent_again_with_its_key() -> None:
    held = backlog("one", "two")
    first = held.take()
    held.add([content("three")], 0.0)

    assert held.due_in(0.0) == 0.0
    again = held.take()
    assert again is first
    assert first is not None
    held.stored(first)
    other = held.take()
    assert other is not None
    assert (texts(other), other.key == first.key) == (["three"], False)


def test_the_culprits_that_an_error_names_fail_alone_and_the_others_keep_their_order() -> None:
    held = backlog("one", "two", "three", "four")
    batch = held.take()
    assert batch is not None

    error = naming("x", "memories.2.tags.0", "memories.7.content", "memories.0.content", "memories.2.content")
    held.refused(batch, error)

    assert [(json.loads(memory)["content"], str(why)) for memory, why in held.failed] == [
        ("one", "content: wrong (HTTP 400, invalid_request, request req_1)"),
        ("three", "tags.0: wrong; content: wrong (HTTP 400, invalid_request, request req_1)"),
    ]
    assert [detail.field for detail in held.failed[1][1].details] == ["tags.0", "content"]
    assert len(error.details) == 5
    rest = held.take()
    assert rest is not None
    assert (texts(rest), rest.key == batch.key) == (["two", "four"], False)


def test_an_error_may_name_a_memory_as_a_whole_and_with_brackets() -> None:
    held = backlog("one", "two", "three")
    batch = held.take()
    assert batch is not None

    held.refused(batch, naming("memories[1]", "memories[2].ttl"))

    assert [why.message for _, why in held.failed] == ["wrong", "ttl: wrong"]


def test_culprits_that_nobody_names_are_found_by_halving() -> None:
    held = backlog(*"abcdefg")
    stored = []
    sent = 0
    while (batch := held.take()) is not None:
        sent += 1
        if "e" in texts(batch):
            held.refused(batch, NO)
        else:
            stored += texts(batch)
            held.stored(batch)

    assert (stored, failures(held.failed), sent) == (list("abcdfg"), ["e"], 7)
    assert held.failed[0][1] is NO


def test_without_a_way_to_the_server_all_has_failed_in_its_order() -> None:
    held = backlog(*"abcdefgh", max_batch=4)
    batch = held.take()
    assert batch is not None
    held.refused(batch, NO)
    half = held.take()
    assert texts(half) == ["a", "b"]

    held.given_up(GONE)

    assert failures(held.failed) == list("abcdefgh")
    assert (held.pending, held.due_in(0.0), held.take()) == (0, None, None)
    assert not held.is_empty


def test_what_has_failed_takes_up_room_until_it_is_handed_over() -> None:
    held = backlog(*"abc", max_batch=2, max_pending=4)
    assert held.has_room([content("d")])
    assert not held.has_room([content("d"), content("e")])

    held.given_up(GONE)
    assert not held.has_room([content("d"), content("e")])

    failed = held.hand_over()
    assert (failures(failed), held.is_empty, held.failed) == (list("abc"), True, [])
    assert held.has_room([content("d")] * 4)

    held.take_back(failed)
    assert (failures(held.failed), held.is_empty) == (list("abc"), False)
    assert not held.has_room([content("d"), content("e")])


def test_bytes_are_bounded_too() -> None:
    held = backlog("a", max_bytes=2 * len(content("a")))

    assert held.has_room([content("b")])
    assert not held.has_room([content("bb")])


def test_what_never_fits_is_refused() -> None:
    held = backlog(max_batch=1, max_pending=2, max_bytes=1000)

    with pytest.raises(BadRequestError, match=r"3 memories of .* more than the buffer ever holds") as caught:
        held.has_room([content("a")] * 3)
    assert caught.value.code == "invalid_request"
    with pytest.raises(BadRequestError, match="max_bytes=1000"):
        held.has_room([content("a" * 1000)])


def test_memories_that_are_stored_already_are_not_sent_again() -> None:
    held = backlog(*"abcd")
    batch = held.take()
    assert batch is not None

    held.stored(batch, {0, 2})

    assert texts(held.take()) == ["b", "d"]
    assert held.pending == 2


def test_times_grow_even_if_the_clock_does_not() -> None:
    held = backlog()
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)

    assert held.stamp(noon) == noon
    assert held.stamp(noon) == noon + timedelta(microseconds=1)
    assert held.stamp(noon - timedelta(hours=1)) == noon + timedelta(microseconds=2)
    assert held.stamp(noon + timedelta(seconds=1)) == noon + timedelta(seconds=1)


def test_the_error_gives_requests_as_they_were() -> None:
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    wrong: Any = {"tags": "not a list", "importance": 7}
    requests = [
        AddMemoryRequest(agent_id="a", content="b", time=noon, metadata={"x": [1]}),
        AddMemoryRequest(agent_id="a", content="c", **wrong),
    ]
    reason = naming("x")
    reason.body = {"error": "No"}
    error = not_stored([(json.dumps(request.to_dict()).encode(), reason) for request in requests])

    assert (error.details, error.body) == (reason.details, {"error": "No"})
    assert [request for request, _ in error.failed] == requests
    assert str(error) == "2 memories could not be stored: No (HTTP 400, invalid_request, request req_1)"
    assert error.__cause__ is error.failed[0][1]
    assert not_stored([(content("b"), GONE)]).message == "1 memory could not be stored: gone"


class BacklogAgainstAModel(RuleBasedStateMachine):
    """The model: a list of numbers that were added, in order, and what became of each."""

    def __init__(self) -> None:
        super().__init__()
        self.held = Backlog(Limits(max_batch=4, max_delay=1.0, max_pending=12, max_bytes=600))
        self.now = 0.0
        self.waiting: list[int] = []
        self.stored: list[int] = []
        self.failed: list[int] = []
        self.handed: list[int] = []
        self.sizes: list[int] = []
        self.batch: Batch | None = None

    @property
    def count(self) -> int:
        return len(self.sizes)

    def numbers(self, batch: Batch) -> list[int]:
        return [int(text.lstrip("x")) for text in texts(batch)]

    @rule(sizes=st.lists(st.integers(0, 150), min_size=0, max_size=6), passed=st.floats(0, 2))
    def add(self, sizes: list[int], passed: float) -> None:
        self.now += passed
        contents = [content("x" * size + str(number)) for number, size in enumerate(sizes, start=self.count)]
        if sum(map(len, contents)) > 600:
            with pytest.raises(BadRequestError):
                self.held.has_room(contents)
        elif self.held.has_room(contents):
            self.held.add(contents, self.now)
            self.waiting += range(self.count, self.count + len(contents))
            self.sizes += map(len, contents)

    @rule()
    def take(self) -> None:
        batch = self.held.take()
        if not self.waiting:
            assert batch is None
            return
        assert batch is not None
        if self.batch is not None:
            assert batch is self.batch
        self.batch = batch
        numbers = self.numbers(batch)
        assert 1 <= len(numbers) <= 4
        assert numbers == self.waiting[: len(numbers)]

    @precondition(lambda self: self.batch is not None)
    @rule(data=st.data())
    def is_stored(self, data: st.DataObject) -> None:
        batch, self.batch = self.batch, None
        assert batch is not None
        numbers = self.numbers(batch)
        places = data.draw(st.none() | st.sets(st.integers(0, len(numbers) - 1)))
        self.held.stored(batch, places)
        done = [number for place, number in enumerate(numbers) if places is None or place in places]
        self.stored += done
        self.waiting = [number for number in self.waiting if number not in done]

    @precondition(lambda self: self.batch is not None)
    @rule(data=st.data())
    def is_refused(self, data: st.DataObject) -> None:
        batch, self.batch = self.batch, None
        assert batch is not None
        numbers = self.numbers(batch)
        places = data.draw(st.sets(st.integers(0, len(numbers) + 1)))
        self.held.refused(batch, naming(*(f"memories.{place}.content" for place in places)))
        culprits = [number for place, number in enumerate(numbers) if place in places]
        if not culprits and len(numbers) == 1:
            culprits = numbers
        self.failed += culprits
        self.waiting = [number for number in self.waiting if number not in culprits]

    @rule()
    def is_given_up(self) -> None:
        self.batch = None
        self.held.given_up(GONE)
        self.failed += self.waiting
        self.waiting = []

    @rule(take_back=st.booleans())
    def hand_over(self, take_back: bool) -> None:  # noqa: FBT001  # hypothesis gives it
        failed = self.held.hand_over()
        if take_back:
            self.held.take_back(failed)
        else:
            self.handed += self.failed
            self.failed = []

    @invariant()
    def nothing_is_lost_and_nothing_is_twice(self) -> None:
        known = self.waiting + self.stored + self.failed + self.handed
        assert sorted(known) == list(range(self.count))
        assert self.waiting == sorted(self.waiting)

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        assert self.held.pending == len(self.waiting)
        assert [int(text.lstrip("x")) for text in failures(self.held.failed)] == self.failed
        assert self.held.is_empty == (not self.waiting and not self.failed)
        assert self.held.added == self.count
        assert len(self.waiting) + len(self.failed) <= 12
        assert not self.held.is_empty or self.held.has_room([b"x" * 600])
        assert (self.held.due_in(self.now) is None) == (not self.waiting)

    @invariant()
    def it_has_room_to_the_last_byte(self) -> None:
        there = self.waiting + self.failed
        left = 600 - sum(self.sizes[number] for number in there)
        assert left >= 0
        if len(there) < 12 and there:
            assert self.held.has_room([b"x" * left])
            assert not self.held.has_room([b"x" * (left + 1)])

    @invariant()
    def what_is_settled_is_neither_waiting_nor_being_sent(self) -> None:
        for number in range(self.count + 1):
            settled = not self.waiting or self.waiting[0] >= number
            assert self.held.is_settled(number) == settled


TestBacklogAgainstAModel = BacklogAgainstAModel.TestCase
TestBacklogAgainstAModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
