"""The server's core: a request in, a response out, independent of the transport.

Data flows one way: request → operation → key (who calls, and may they) → contract (is the request valid)
→ service (what the operation means) → store → response. Errors are reported in this order: 404 or 405,
then 401, 403, and 400.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import msgspec
from attrs import evolve

from memtrace_server import auth, ids, problems, times
from memtrace_server.auth import Principal
from memtrace_server.contract import Arguments, Contract, Operation
from memtrace_server.deadlines import Deadline, DeadlineExceeded
from memtrace_server.messages import JSON, Request, Response, refusal
from memtrace_server.problems import Problem
from memtrace_server.service import HANDLERS, STORELESS, Added, Call, Drafts, Step, forgetting
from memtrace_server.service.limiting import limited
from memtrace_server.store import Store
from memtrace_server.store.protocol import (
    OutcomeUnknown,
    StoreBusy,
    StoreReadOnly,
    StoreUnavailable,
    Transaction,
    WantsOf,
)
from memtrace_server.store.records import Answer, Filter, Wants

_LOG = logging.getLogger("memtrace_server")
CHANGE_DELAY = 0.05
"""Seconds after which a request that waits for a memory looks again whether the store has changed."""

_ADDING, _IMPORTING = "addMemory", "importRecords"
_REPLAYED = {"Idempotent-Replayed": "true"}


class _Run(Protocol):
    def __call__(self, transaction: Transaction, step: Step | None = None) -> Response | Added: ...


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a request needs of the store: to be run by `Core.read`, or by `Store.write` if it `is_write`.

    Attributes:
        is_probe: Whether it asks if the store can be written.
        is_vacuum: Whether the store is to be rewritten after it.
        wait: Seconds for which it is repeated until it finds something.
        prepare: Does what a write can do before its transaction, whose end others wait for.
        find: For a write that forgets in steps, finds all rows first.
        wants: Returns what a write is going to ask the store.
    """

    is_write: bool
    is_probe: bool
    is_vacuum: bool
    wait: float
    run: _Run
    prepare: Callable[[], None]
    find: Callable[[Transaction], Sequence[int]] | None = None
    wants: WantsOf | None = None


class Match(msgspec.Struct, frozen=True):
    """The operation that a request means, and the values in its path."""

    operation: Operation
    path_values: Mapping[str, str]


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A request on its way through the server.

    Attributes:
        operation: The contract's operationId, if the request means one.
        todo: The response, what was wrong, or the work that leads to a response.
    """

    request: Request
    request_id: str
    operation: str | None
    todo: Response | Exception | Work


class Core:
    """A Memtrace server without a network.

    Args:
        store: The store. The core does not close it.
        local: The caller when no key is needed; None if each request needs a key.
        metrics: Returns the response to `getMetrics`; 404 if None.
    """

    def __init__(
        self,
        store: Store,
        *,
        local: Principal | None = None,
        metrics: Callable[[], Response] | None = None,
    ) -> None:
        self.contract = Contract.load()
        self._store = store
        self._local = local
        self._started_at = times.now()
        self._clock = times.Clock()
        self._storeless = dict(STORELESS)
        if metrics:
            self._storeless["getMetrics"] = lambda *_: metrics()

    def handle(self, request: Request, deadline: Deadline | None = None) -> Response:
        """Return the response to a request; blocks until a write is committed.

        Args:
            request: The request.
            deadline: When to stop; never if None.

        Raises:
            StoreBusy: Others held the store's lock until then; nothing was done.
            DeadlineExceeded: It was not done until then, and nothing was written.
        """
        deadline = deadline or Deadline()
        try:
            exchange = self.begin(request, self.match(request), deadline)
        except Problem as problem:
            exchange = self.refuse(request, problem)
        todo = exchange.todo
        if not isinstance(todo, Work):
            return self.finish(exchange, todo)
        try:
            read = self._read_until_found if todo.wait else self.read
            do = self._write if todo.is_write else read
            outcome: Response | Added | Exception = do(todo, deadline)
        except (StoreBusy, DeadlineExceeded):
            raise
        except Exception as error:  # noqa: BLE001 - `finish` tells each from the others
            outcome = error
        return self.finish(exchange, outcome)

    def read(self, work: Work, deadline: Deadline | None = None) -> Response:
        """Do work that writes nothing."""
        if work.is_probe:
            self._store.probe(deadline)
        response = rendered(self._store.read(work.run, deadline))
        if work.is_vacuum:
            self._store.vacuum()
        return response

    def _write(self, work: Work, deadline: Deadline) -> Response | Added:
        work.prepare()
        step = Step(self._store.read(work.find, deadline)) if work.find else None
        while True:
            written = self._store.write(partial(work.run, step=step), deadline, work.wants)
            step = written.rest
            if step is None:
                return written

    def _read_until_found(self, work: Work, deadline: Deadline) -> Response:
        wait = Deadline(work.wait)
        while True:
            version = self._store.version()
            response = self.read(work, deadline)
            while True:
                if not response.is_idle or wait.is_over() or deadline.is_over():
                    return response
                if version != self._store.version():
                    break
                time.sleep(CHANGE_DELAY)

    def match(self, request: Request) -> Match:
        """Return the operation that a request means, by its method and path alone.

        Raises:
            Problem: 404 or 405.
        """
        return Match(*self.contract.match(request.method, request.path))

    def begin(self, request: Request, match: Match, deadline: Deadline) -> Exchange:
        """Validate a request; its errors are reported once its caller is known."""
        operation = match.operation
        now = times.now()
        request_id = ids.new_id("req_", now)
        arguments: Arguments | Problem
        try:
            arguments = operation.read(request, match.path_values)
        except Problem as problem:
            arguments = problem
        todo: Response | Exception | Work
        if isinstance(arguments, Problem) and (operation.role is None or self._local):
            todo = arguments
        elif operation.id in self._storeless and isinstance(arguments, Arguments):
            try:
                todo = self._storeless[operation.id](self._started_at, arguments.parameters)
            except Problem as problem:
                todo = problem
        else:
            todo = self._work(request, request_id, operation, arguments, deadline)
        return Exchange(request=request, request_id=request_id, operation=operation.id, todo=todo)

    def refuse(self, request: Request, error: Exception, match: Match | None = None) -> Exchange:
        """Return the exchange of a request that failed before its validation."""
        request_id = ids.new_id("req_", times.now())
        operation = match.operation.id if match else None
        return Exchange(request=request, request_id=request_id, operation=operation, todo=error)

    def finish(self, exchange: Exchange, outcome: Response | Added | Exception) -> Response:
        """Return the response to a request, given the result of its work or the error that it raised."""
        if isinstance(outcome, Response | Added):
            response = rendered(outcome)
        else:
            response = refusal(self._problem(outcome, exchange.request_id), exchange.request_id)
        headers = {"X-Request-Id": exchange.request_id, **response.headers}
        if response.body:
            headers.setdefault("Content-Type", JSON)
        return msgspec.structs.replace(response, headers=headers)

    def _problem(self, error: Exception, request_id: str) -> Problem:
        """Return the problem that an error of a request is reported as, and log what operators must know."""
        if isinstance(error, Problem):
            return error
        if isinstance(error, DeadlineExceeded):
            return problems.deadline_exceeded()
        if isinstance(error, StoreReadOnly):
            return problems.forbidden("The store was opened to be read only (mode=ro)")
        if isinstance(error, OutcomeUnknown):
            _LOG.error("%s: %s", request_id, error)
            return problems.outcome_unknown()
        if isinstance(error, StoreUnavailable):
            _LOG.error("%s: %s", request_id, error)
            what = str(error) if self._local else error.reason  # the path is not for clients elsewhere
            return problems.unavailable(f"The storage is not available: {what}")
        _LOG.error("%s: a defect", request_id, exc_info=error)
        return problems.internal_error()

    def _work(
        self,
        request: Request,
        request_id: str,
        operation: Operation,
        arguments: Arguments | Problem,
        deadline: Deadline,
    ) -> Work:
        def call(transaction: Transaction, step: Step | None = None) -> Call:
            deadline.check()
            principal = self._principal(transaction, request, operation)
            if isinstance(arguments, Problem):
                raise arguments
            only = principal.agent_id
            given = arguments if only is None else limited(operation, arguments, only)
            return Call(
                transaction=transaction,
                principal=principal,
                operation=operation.id,
                parameters=given.parameters,
                body=given.body,
                drafts=drafts,
                now=times.now(),  # not when the request came: rows follow one another in the store, so that
                started_at=self._started_at,  # they rise with the clock
                clock=self._clock,
                deadline=deadline,
                step=step,
                request_id=request_id,
            )

        def run(transaction: Transaction, step: Step | None = None) -> Response | Added:
            nonlocal arguments
            asked = call(transaction, step)
            if key and (step is None or step.is_last):
                return _once(asked, digest(), key)
            response = HANDLERS[operation.id](asked)
            arguments = _resumed(arguments, response)
            return response

        def find(transaction: Transaction) -> Sequence[int]:
            asked = call(transaction)
            return () if key and _known(asked, digest(), key) else forgetting.find(asked)

        def wants() -> Wants:
            return Wants(
                digest=None if self._local else auth.given_digest(request.headers),
                org=self._local.org if self._local else None,
                key=key,
                fingerprints=drafts.compared if operation.id == _ADDING else (),
            )

        def prepare() -> None:
            if key:
                digest()
            if operation.id in {_ADDING, _IMPORTING} and isinstance(arguments, Arguments):
                drafts.make(is_compared=operation.id == _ADDING)

        drafts = Drafts(arguments.body or {} if isinstance(arguments, Arguments) else {})
        parameters = arguments.parameters if isinstance(arguments, Arguments) else {}
        is_dry_run = parameters.get("dry_run", False)
        key = None if is_dry_run else parameters.get("Idempotency-Key")
        digest: Callable[[], bytes] = partial(_digest, request, operation)
        digest = functools.cache(digest) if key else digest  # the cache would take 7 µs
        is_write = operation.is_write and isinstance(arguments, Arguments) and not is_dry_run
        return Work(
            is_write=is_write,
            is_probe=operation.id == "getReady",
            is_vacuum=operation.id == "vacuumStore",
            wait=parameters.get("wait", 0),
            run=run,
            prepare=prepare,
            find=find if is_write and operation.id in forgetting.FORGETTING else None,
            wants=wants if is_write else None,
        )

    def _principal(self, transaction: Transaction, request: Request, operation: Operation) -> Principal:
        if operation.role is None:
            return _NOBODY
        principal = self._local or auth.authenticate(transaction, request.headers)
        auth.authorise(principal, operation.role)
        return principal


_NOBODY = Principal(0, "", "reader")  # of operations that need no key


def _resumed(arguments: Arguments | Problem, response: Response | Added) -> Arguments | Problem:
    """Return the arguments with which a request that waits looks again: from where it began to wait."""
    if isinstance(arguments, Problem) or isinstance(response, Added) or response.resume is None:
        return arguments
    return Arguments({**arguments.parameters, "cursor": response.resume}, arguments.body)


def rendered(outcome: Response | Added) -> Response:
    """Return the response that a result stands for."""
    return outcome.response() if isinstance(outcome, Added) else outcome


def _once(call: Call, digest: bytes, key: str) -> Response | Added:
    """Return the stored response to this idempotency key and request, or store and return this one."""
    known = _known(call, digest, key)
    if known is not None:
        return _replay(call, known)
    outcome = HANDLERS[call.operation](call)
    kept = Answer(request=digest, status=outcome.status, location=outcome.headers.get("Location"))
    if isinstance(outcome, Added):
        kept = evolve(kept, rows=[m.seq for m in outcome.memories], duplicates=outcome.duplicates)
    else:
        kept = evolve(kept, body=outcome.body, agent_id=outcome.agent_id)
    call.transaction.keep_answer(call.org, key, kept, call.now)
    return outcome


def _known(call: Call, digest: bytes, key: str) -> Answer | None:
    """Return the response stored under an idempotency key, or None.

    Raises:
        Problem: 409; it was stored for another request.
    """
    known = call.transaction.answer(call.org, key, call.now - times.DAY)
    if known is not None and known.request != digest:
        message = "This Idempotency-Key was used for another request; use a new one for each write"
        raise problems.conflict("idempotency_key_reused", message)
    return known


def _digest(request: Request, operation: Operation) -> bytes:
    what = f"{operation.id} {request.path}?{request.query}\n"
    digest = hashlib.sha256(what.encode())
    digest.update(request.body)
    return digest.digest()


def _replay(call: Call, known: Answer) -> Response | Added:
    if known.rows:
        wanted = Filter(include_superseded=True)
        found = call.transaction.memories(call.org, list(set(known.rows)), wanted, call.now)
        by_row = {memory.seq: memory for memory in found}
        memories = [by_row[row] for row in known.rows if row in by_row]
        if len(memories) == len(known.rows):
            return Added(
                status=known.status, memories=memories, duplicates=known.duplicates, headers=_REPLAYED
            )
    elif known.body is not None:
        headers = {"Location": known.location} if known.location else {}
        return Response(status=known.status, body=known.body, headers={**headers, **_REPLAYED})
    message = "What was stored under this Idempotency-Key has been forgotten since"
    raise problems.conflict("answer_forgotten", message)
