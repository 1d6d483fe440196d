"""The end of an interpreter with memories in a buffer that nobody flushed or closed; and its forks."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from memtrace import Memtrace

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = """
import asyncio, atexit, multiprocessing, os, signal, sys, threading
import httpx, trio
from memtrace import AsyncMemtrace, Memtrace

log = Memtrace(sys.argv[1], max_retries=0).buffered(max_delay=3600)
async_log = AsyncMemtrace(sys.argv[1], max_retries=0).buffered(max_delay=3600)
log.remember("main", "first")
"""


def run(url: str, code: str, returncode: int = 0) -> str:
    """Run code after the beginning; gives what it writes to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code, url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == returncode, done.stderr
    return done.stderr


def stored(url: str) -> list[tuple[str, str]]:
    with Memtrace(url) as client:
        return [(memory.agent_id, memory.content) for memory in client.iter_memories(order="asc")]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/agent.db"


FIRST = ("main", "first")


def test_a_program_that_just_ends_has_stored_all(url: str) -> None:
    assert run(url, "") == ""
    assert stored(url) == [FIRST]


@pytest.mark.parametrize("code", ["sys.exit(1)", "raise LookupError"])
def test_so_has_one_that_fails(url: str, code: str) -> None:
    run(url, code, returncode=1)
    assert stored(url) == [FIRST]


THREAD = """
def late():
    threading.main_thread().join()
    log.remember("thread", "second")

threading.Thread(target=late).start()
"""


def test_a_thread_may_go_on_after_the_main_thread(url: str) -> None:
    assert run(url, THREAD) == ""
    assert stored(url) == [FIRST, ("thread", "second")]


def test_a_function_of_atexit_may_still_remember(url: str) -> None:
    stderr = run(url, 'atexit.register(log.remember, "atexit", "second")')

    assert stored(url) == [FIRST, ("atexit", "second")]
    assert "Traceback" not in stderr


FORK = """
child = os.fork()
if child == 0:
    assert (log.pending, log.failed) == (0, [])
    log.remember("child", "second")
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
log.remember("main", "third")
"""


def test_a_forked_process_stores_its_own_and_not_those_of_its_parent(url: str) -> None:
    assert "Traceback" not in run(url, FORK)
    assert sorted(stored(url)) == [("child", "second"), FIRST, ("main", "third")]


MULTIPROCESSING = """
child = multiprocessing.get_context("fork").Process(target=log.remember, args=["child", "second"])
child.start()
child.join()
"""


def test_so_does_one_of_multiprocessing_which_runs_no_function_of_atexit(url: str) -> None:
    assert run(url, MULTIPROCESSING) == ""
    assert sorted(stored(url)) == [("child", "second"), FIRST]


@pytest.mark.parametrize("loop", ["asyncio.run(forget())", "trio.run(forget)"])
def test_what_an_event_loop_left_is_stored_and_somebody_hears_of_it(url: str, loop: str) -> None:
    code = f"""
async def forget():
    await async_log.remember("task", "second")
    await async_log.remember("task", "third")

{loop}
"""
    stderr = run(url, code)

    assert sorted(stored(url)) == [FIRST, ("task", "second"), ("task", "third")]
    assert stderr == "Sending 2 memories as the interpreter ends, because a buffer was not closed\n"


FORK_WITH_A_TASK = """
asyncio.run(async_log.remember("task", "second"))
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_process_leaves_that_to_its_parent(url: str) -> None:
    assert run(url, FORK_WITH_A_TASK).count("Sending 1 memory") == 1
    assert sorted(stored(url)) == [FIRST, ("task", "second")]


# Who starts tests in the background may have them ignore the signal, and so what they start.
INTERRUPTED = """
signal.signal(signal.SIGINT, signal.default_int_handler)

async def forget():
    async with async_log:
        await async_log.remember("task", "second")
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(3600)

asyncio.run(forget())
"""


def test_a_block_that_is_interrupted_stores_all(url: str) -> None:
    assert "KeyboardInterrupt" in run(url, INTERRUPTED, returncode=-2)
    assert sorted(stored(url)) == [FIRST, ("task", "second")]


ONLY_IN_ITS_LOOP = """
def handle(request):
    raise AssertionError("nothing is sent before it is due")

http_client = httpx.AsyncClient(transport=httpx.MockTransport(handle))
async_log = AsyncMemtrace(http_client=http_client).buffered(max_delay=3600)
asyncio.run(async_log.remember("task", "second"))
"""


def test_what_cannot_be_sent_without_the_loop_is_not_lost_in_silence(url: str) -> None:
    assert run(url, ONLY_IN_ITS_LOOP) == (
        "Lost: 1 memory, because a buffer was not closed before its event loop ended, and the http_client "
        "that was given can send only there\n"
    )
    assert stored(url) == [FIRST]


def test_what_cannot_be_sent_at_all_is_not_lost_in_silence() -> None:
    stderr = run("http://127.0.0.1:9", 'log.remember("main", "second")')

    warning, error = stderr.splitlines()
    assert warning.startswith("2 memories could not be stored: POST /api/v1/memories")
    assert error == f"Lost: {warning}"


def test_on_failure_is_told_at_the_end_too() -> None:
    code = """
def spool(error):
    print([request.content for request, _ in error.failed], file=sys.stderr)

async_log = AsyncMemtrace(sys.argv[1], max_retries=0).buffered(on_failure=spool)
asyncio.run(async_log.remember("task", "second"))
"""
    assert "['second']\n" in run("http://127.0.0.1:9", code)
