"""A labelled log of several conversations and agents: memories, and questions about them."""

from __future__ import annotations

import functools
import random
import string
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import define, field, frozen

from evaluation import facts, names

SEED = 4711
START = datetime(2025, 1, 6, 8, tzinfo=UTC)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
_DAYS = (NOW - START).days - 3


@frozen
class Question:
    """A question, its kind, and the ids of the memories that answer it.

    Attributes:
        is_held_out: Whether it is kept for the report, and was never used to tune the search.
    """

    text: str
    kind: str
    answers: frozenset[str]
    is_held_out: bool


@define
class Log:
    """Memories as requests, each with an id as its `dedup_key`, and questions about them."""

    memories: list[dict[str, Any]] = field(factory=list)
    questions: list[Question] = field(factory=list)

    def parts(self, number: int) -> list[Log]:
        """Return small logs, each with some of the sessions and the questions about them."""
        parts = [Log() for _ in range(number)]
        sessions = {name: n for n, name in enumerate(dict.fromkeys(m["session_id"] for m in self.memories))}
        part_of = {m["dedup_key"]: sessions[m["session_id"]] % number for m in self.memories}
        for memory in self.memories:
            parts[part_of[memory["dedup_key"]]].memories.append(memory)
        for question in self.questions:
            for part in {part_of[answer] for answer in question.answers}:
                parts[part].questions.append(question)
        return parts


@functools.cache
def make() -> Log:
    """Return the log; the same each time."""
    return _Maker(random.Random(SEED)).log()  # noqa: S311 - the same each time


@functools.cache
def of_agents() -> Log:
    """Return a log of coding, operations and support agents with many names of code; the same each time."""
    return _Maker(random.Random(SEED + 2)).notes()  # noqa: S311 - the same each time


class _Maker:
    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._log = Log()
        self._sessions: list[list[dict[str, Any]]] = []
        self._ids = 0

    def log(self) -> Log:
        """Make conversations, agents' logs and tickets, and mix them."""
        self._conversations()
        self._dialogues()
        self._events()
        self._agents()
        self._deploys()
        self._tickets()
        self._outputs()
        self._languages()
        self._typos()
        return self._mixed()

    def notes(self) -> Log:
        """Make the logs of agents that note names of code, and mix them."""
        for agent, noted in (
            ("coder", names.CODING),
            ("ops", names.OPERATIONS),
            ("support", names.SUPPORT),
        ):
            for text, question in noted:
                memory = self._memory(text, agent)
                self._session("names", memory, 14)
                self._ask(question, agent, [memory])
        return self._mixed()

    def _mixed(self) -> Log:
        for session in self._sessions:
            self._log.memories += session
        self._log.memories.sort(key=lambda memory: memory["time"])
        return self._log

    # --- families

    def _conversations(self) -> None:
        for kind, (values, statements, questions) in facts.PERSONAL.items():
            people = self._dice.sample(facts.PEOPLE, len(values))
            for number, (person, value) in enumerate(zip(people, values, strict=True)):
                said = self._say(self._dice.choice(statements).format(v=value), person)
                self._session("chat", said, 14)
                question = questions[number % len(questions)].format(p=person, v=value)
                self._ask(question, kind, [said])

    def _dialogues(self) -> None:
        for question, answer, later in facts.DIALOGUES:
            one, other = self._dice.sample(facts.PEOPLE, 2)
            asked, said = self._say(question, one), self._say(answer, other)
            self._session("chat", asked, 20, then=[said])
            self._ask(later, "dialogue", [said])

    def _events(self) -> None:
        for number, event in enumerate(facts.EVENTS):
            person = self._dice.choice(facts.PEOPLE)
            opened = self._say(f"Let us plan the {event} now.", person)
            turns: list[dict[str, Any]] = []
            for position, (detail, question) in enumerate(facts.DETAILS):
                turns += [self._other("chat", opened) for _ in range(self._dice.randrange(3))]
                said = self._say(detail.format(n=self._dice.randint(11, 59), p=person), person)
                turns.append(said)
                if position % 2 == number % 2:
                    self._ask(question.format(e=event), "event", [said])
            self._session("chat", opened, 8, then=turns)

    def _agents(self) -> None:
        for what, why, question in facts.DECISIONS:
            for service in self._dice.sample(facts.SERVICES, 3):
                text = f"{what.format(s=service)}: {why}"
                decided = self._memory(text, "coder", event_type="decision", memory_type="decision")
                self._session("work", decided, 24)
                if self._dice.random() < 0.7:  # noqa: PLR2004 - two thirds
                    self._ask(question.format(s=service), "decision", [decided])
        for what, question in facts.ERRORS:
            for service in self._dice.sample(facts.SERVICES, 4):
                number = self._dice.randint(11, 9_999)
                failed = self._memory(what.format(s=service, n=number), "coder", event_type="error")
                self._session("work", failed, 12)
                if self._dice.random() < 0.6:  # noqa: PLR2004
                    self._ask(question.format(s=service, n=number), "error", [failed])

    def _deploys(self) -> None:
        for what, question in facts.DEPLOYS:
            for service in self._dice.sample(facts.SERVICES, 4):
                moments = [self._moment() for _ in range(6)]
                done = []
                for moment in moments:
                    text = what.format(s=service, n=self._dice.randint(1, 9), m=self._dice.randint(0, 99))
                    memory = self._memory(text, "ops", event_type="action")
                    self._session("work", memory, 5, at=moment)
                    done.append(memory)
                for position in self._dice.sample(range(6), 2):
                    moment = moments[position]
                    is_day = self._dice.random() < 0.5  # noqa: PLR2004
                    when = f"on {moment:%-d %B %Y}" if is_day else f"in {moment:%B %Y}"
                    near = [
                        memory
                        for memory, other in zip(done, moments, strict=True)
                        if (other.date() == moment.date() if is_day else f"{other:%Y%m}" == f"{moment:%Y%m}")
                    ]
                    self._ask(question.format(s=service, when=when), "time", near)

    def _tickets(self) -> None:
        for what, question in facts.TICKETS:
            for customer in self._dice.sample(facts.CUSTOMERS, 3):
                noted = self._memory(what.format(c=customer), "support", tags=["customer"])
                self._session("support", noted, 10)
                if "{c}" in question:
                    self._ask(question.format(c=customer), "customer", [noted])

    def _outputs(self) -> None:
        for line, question in facts.BURIED:
            noise = [self._step() for _ in range(self._dice.randint(20, 60))]
            noise.insert(self._dice.randrange(len(noise)), line)
            printed = self._memory("\n".join(noise), "coder", event_type="tool_output")
            self._session("work", printed, 8)
            self._ask(question, "long", [printed])

    def _languages(self) -> None:
        for text, question in facts.LANGUAGES:
            said = self._say(text, self._dice.choice(facts.PEOPLE))
            self._session("chat", said, 6)
            self._ask(question, "language", [said])

    def _typos(self) -> None:
        """Return some of the questions again, with a wrong letter in a long word."""
        for question in self._dice.sample(self._log.questions, 24):
            words = question.text.split()
            long = [n for n, word in enumerate(words) if len(word) > 6 and word.isascii() and word.isalpha()]  # noqa: PLR2004
            if long:
                number = self._dice.choice(long)
                word = words[number]
                at = self._dice.randrange(1, len(word) - 1)
                letter = self._dice.choice(string.ascii_lowercase)
                words[number] = word[:at] + letter + word[at + 1 :]
                typed = Question(" ".join(words), "typo", question.answers, question.is_held_out)
                self._log.questions.append(typed)

    # --- parts

    def _say(self, text: str, person: str) -> dict[str, Any]:
        return self._memory(text, "companion", metadata={"speaker": person})

    def _memory(self, text: str, agent: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - of a memory
        self._ids += 1
        return {"agent_id": agent, "content": text, "dedup_key": str(self._ids), **fields}

    def _session(
        self,
        kind: str,
        memory: dict[str, Any],
        others: int,
        *,
        then: Sequence[dict[str, Any]] = (),
        at: datetime | None = None,
    ) -> None:
        """Add a session with a memory among others."""
        before = [self._other(kind, memory) for _ in range(self._dice.randrange(others))]
        after = [self._other(kind, memory) for _ in range(others - len(before))]
        moment = at or self._moment()
        session = f"{kind}-{len(self._sessions)}"
        turns = [*before, memory, *then, *after]
        for turn in turns:
            moment += timedelta(seconds=self._dice.randint(5, 90))
            turn.update(session_id=session, time=moment.isoformat())
        self._sessions.append(turns)

    def _other(self, kind: str, memory: dict[str, Any]) -> dict[str, Any]:
        if kind == "chat":
            mood, topic = self._dice.choice(facts.MOODS), self._topic()
            return self._say(
                self._dice.choice(facts.CHATTER).format(w=mood, t=topic), self._dice.choice(facts.PEOPLE)
            )
        if kind == "names":
            text = self._dice.choice(names.OTHERS)
            return self._memory(self._filled(text), memory["agent_id"])
        if kind == "support":
            customer = self._dice.choice(facts.CUSTOMERS)
            texts = [
                "Wrote to {c}",
                "{c} did not pick up the phone",
                "Closed a ticket of {c}",
                "{c} sent thanks",
            ]
            return self._memory(self._dice.choice(texts).format(c=customer), "support")
        return self._memory(self._step(), memory["agent_id"], event_type="action")

    def _step(self) -> str:
        return self._filled(self._dice.choice(facts.STEPS))

    def _filled(self, text: str) -> str:
        return text.format(
            s=self._dice.choice(facts.SERVICES),
            t=self._dice.choice(facts.TOPICS),
            n=self._dice.randint(2, 999),
        )

    def _topic(self) -> str:
        return self._dice.choice([value for values, _, _ in facts.PERSONAL.values() for value in values])

    def _moment(self) -> datetime:
        return START + timedelta(days=self._dice.randrange(_DAYS), seconds=self._dice.randrange(36_000))

    def _ask(self, text: str, kind: str, answers: Sequence[dict[str, Any]]) -> None:
        """Add a question, of which every second of a kind is held out."""
        number = sum(question.kind == kind for question in self._log.questions)
        found = frozenset(memory["dedup_key"] for memory in answers)
        self._log.questions.append(Question(text, kind, found, is_held_out=number % 2 == 1))


def more(number: int) -> Iterator[dict[str, Any]]:
    """Yield more memories of the same sorts, to fill a large store."""
    dice = random.Random(SEED + 1)  # noqa: S311 - the same each time
    maker = _Maker(dice)
    step = (NOW - START) / (number + 1)
    for n in range(number):
        kind = dice.choice(["chat", "chat", "support", "work"])
        memory = maker._other(kind, {"agent_id": "coder"})  # noqa: SLF001 - of this module
        memory.update(
            content=f"{memory['content']} {dice.choice(facts.TOPICS)} {n}",
            session_id=f"more-{n // 20}",
            time=(START + step * n).isoformat(),
            dedup_key=f"more-{n}",
        )
        yield memory
