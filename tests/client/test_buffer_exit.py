"""Processes and event loops that end with memories in a buffer that nobody closed; and forks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memtrace import Memtrace

FIRST = ("main", "first")
# Importing all this takes a second. One interpreter does it and forks for each test, before it runs anything.
# A fork ends as an interpreter does.
FORKS = """
import asyncio, atexit, gc, json, multiprocessing, os, signal, sys, threading, weakref
import anyio, httpx, memtrace_server.embedded, trio
from memtrace import AsyncMemtrace, BufferedWriteError, Memtrace

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    os._exit(0)
code, stderr, url = json.loads(line)
sys.argv.append(url)
nothing = os.open(os.devnull, os.O_RDWR)
for number, file in enumerate((nothing, nothing, os.open(stderr, os.O_WRONLY | os.O_CREAT))):
    os.dup2(file, number)
exec(code)
"""
BEGIN = """
log = Memtrace(sys.argv[1], max_retries=0).buffered(max_delay=3600)
async_log = AsyncMemtrace(sys.argv[1], max_retries=0).buffered(max_delay=3600)
log.remember("main", "first")

async def forget():
    await async_log.remember("task", "second")
    await async_log.remember("task", "third")
"""

Run = Callable[..., str]


@pytest.fixture(scope="module")
def forks() -> Iterator[subprocess.Popen[str]]:
    """Return an interpreter that forks for each line of input, and prints how the fork ended."""
    command = [sys.executable, "-I", "-u", "-c", FORKS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin
        process.stdin.close()
    assert process.returncode == 0


@pytest.fixture
def run(forks: subprocess.Popen[str], tmp_path: Path) -> Run:
    """Return a function that runs code after BEGIN in its own process, and returns its stderr."""

    def run(url: str, code: str, returncode: int = 0) -> str:
        assert forks.stdin
        assert forks.stdout
        stderr = tmp_path / "stderr"
        forks.stdin.write(json.dumps([BEGIN + code, str(stderr), url]) + "\n")
        forks.stdin.flush()
        ended = forks.stdout.readline()
        assert ended == f"{returncode}\n", stderr.read_text("utf-8")
        return stderr.read_text("utf-8")

    return run


def stored(url: str) -> list[tuple[str, str]]:
    with Memtrace(url) as client:
        return [(memory.agent_id, memory.content) for memory in client.iter_memories(order="asc")]


def test_program_that_ends_has_stored_all(run: Run, url: str) -> None:
    assert run(url, "") == ""
    assert stored(url) == [FIRST]


@pytest.mark.parametrize("code", ["sys.exit(1)", "raise LookupError"], ids=["exit", "exception"])
def test_program_that_fails_has_stored_all(run: Run, url: str, code: str) -> None:
    run(url, code, returncode=1)
    assert stored(url) == [FIRST]


def test_thread_that_outlives_the_main_thread_has_stored_all(run: Run, url: str) -> None:
    code = """
def late():
    threading.main_thread().join()
    log.remember("thread", "second")

threading.Thread(target=late).start()
"""
    assert run(url, code) == ""
    assert stored(url) == [FIRST, ("thread", "second")]


def test_function_of_atexit_can_still_remember(run: Run, url: str) -> None:
    stderr = run(url, 'atexit.register(log.remember, "atexit", "second")')

    assert stored(url) == [FIRST, ("atexit", "second")]
    assert "Traceback" not in stderr


def test_buffer_without_references_still_stores_all(run: Run, url: str) -> None:
    code = """
Memtrace(sys.argv[1]).buffered(max_delay=3600).remember("dropped", "second")
gc.collect()
"""
    run(url, code)

    assert sorted(stored(url)) == [("dropped", "second"), FIRST]


def test_forked_process_stores_its_own_memories_only(run: Run, url: str) -> None:
    code = """
child = os.fork()
if child == 0:
    assert (log.pending, log.failed) == (0, [])
    log.remember("child", "second")
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
log.remember("main", "third")
"""
    assert "Traceback" not in run(url, code)
    assert sorted(stored(url)) == [("child", "second"), FIRST, ("main", "third")]


def test_process_of_multiprocessing_stores_its_own_memories(run: Run, url: str) -> None:
    code = """
child = multiprocessing.get_context("fork").Process(target=log.remember, args=["child", "second"])
child.start()
child.join()
"""
    assert run(url, code) == ""
    assert sorted(stored(url)) == [("child", "second"), FIRST]


def test_fork_during_a_batch_leaves_the_batch_to_the_parent(run: Run, url: str) -> None:
    code = """
sending, go_on = threading.Event(), threading.Event()

def handle(request):
    sending.set()
    assert go_on.wait(60)
    return httpx.Response(503)

http_client = httpx.Client(transport=httpx.MockTransport(handle))
busy = Memtrace(http_client=http_client, max_retries=0).buffered(max_batch=1, on_failure=lambda error: None)
busy.remember("main", "in flight")
assert sending.wait(60)
child = os.fork()
if child == 0:
    busy.close()  # another thread of the parent holds its locks
    os._exit(busy.pending)
assert os.waitpid(child, 0)[1] == 0
go_on.set()
busy.close()
"""
    assert "Traceback" not in run(url, code)


@pytest.mark.parametrize(
    "code",
    ["asyncio.run(forget())", "trio.run(forget)", "anyio.run(forget)"],
    ids=["asyncio", "trio", "anyio"],
)
def test_event_loop_that_ends_has_stored_all(run: Run, url: str, code: str) -> None:
    assert run(url, code) == ""
    assert sorted(stored(url)) == [FIRST, ("task", "second"), ("task", "third")]


@pytest.mark.parametrize("close", ["loop.close()", ""], ids=["closed", "left"])
def test_exit_stores_memories_of_dropped_tasks(run: Run, url: str, close: str) -> None:
    code = f"""
loop = asyncio.new_event_loop()
loop.run_until_complete(forget())
{close}
"""
    assert run(url, code) == ""
    assert sorted(stored(url)) == [FIRST, ("task", "second"), ("task", "third")]


def test_forked_process_leaves_the_memories_of_tasks_to_its_parent(run: Run, url: str) -> None:
    code = """
loop = asyncio.new_event_loop()
loop.run_until_complete(async_log.remember("task", "second"))
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    assert "memory" not in run(url, code)  # a warning or a failure would be a line
    assert sorted(stored(url)) == [FIRST, ("task", "second")]


def test_block_that_is_interrupted_stores_all(run: Run, url: str) -> None:
    # A parent in the background may have made its children ignore the signal.
    code = """
signal.signal(signal.SIGINT, signal.default_int_handler)

async def interrupted():
    async with async_log:
        await async_log.remember("task", "second")
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(3600)

asyncio.run(interrupted())
"""
    assert "KeyboardInterrupt" in run(url, code, returncode=-signal.SIGINT)
    assert sorted(stored(url)) == [FIRST, ("task", "second")]


def test_exit_without_the_loop_of_an_http_client_logs_the_loss(run: Run, url: str) -> None:
    code = """
http_client = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: sys.exit("sent")))
async_log = AsyncMemtrace(http_client=http_client).buffered(max_delay=3600)
loop = asyncio.new_event_loop()
loop.run_until_complete(async_log.remember("task", "second"))
"""
    problem = "1 memory could not be stored: http_client: its event loop has ended; close the buffer before"
    assert f"Lost: {problem}\n" in run(url, code)
    assert stored(url) == [FIRST]


def test_exit_without_a_server_logs_the_loss(run: Run) -> None:
    stderr = run("http://127.0.0.1:9", 'log.remember("main", "second")')

    warning, error = stderr.splitlines()
    assert warning.startswith("2 memories could not be stored: POST /api/v1/memories")
    assert error == f"Lost: {warning}"


def test_exit_after_a_dropped_loop_without_a_server_logs_the_loss(run: Run) -> None:
    code = """
loop = asyncio.new_event_loop()
loop.run_until_complete(async_log.remember("task", "second"))
"""
    lines = run("http://127.0.0.1:9", code).splitlines()

    assert sum(line.startswith("Lost: 1 memory could not be stored: POST") for line in lines) == 2


def test_exit_with_unreported_failures_logs_the_loss(run: Run) -> None:
    code = """
async def fails():
    async with async_log:
        await async_log.remember("task", "second")
        raise LookupError

try:
    asyncio.run(fails())
except LookupError as error:
    assert "1 memory could not be stored" in error.__notes__[0]
"""
    lines = run("http://127.0.0.1:9", code).splitlines()

    assert sum(line.startswith("Lost: 1 memory could not be stored: POST") for line in lines) == 2


NOBODY_HOLDS = """
log.close()
client = Memtrace(sys.argv[1])

def fail(error):
    raise LookupError

def drop(end, **options):
    with client.buffered(max_delay=0, **options) as dropped:
        dropped.remember("dropped", "precious", memory_type="bad")
        raise end

def work_of_all():
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join()
    gc.collect()
"""
DROPS = {
    "helper": """client.buffered(max_delay=0).remember("dropped", "precious", memory_type="bad")""",
    "exception": """
try:
    drop(KeyError())
except KeyError:
    pass
""",
    "on_failure": """
client.buffered(max_delay=0, on_failure=fail).remember("dropped", "precious", memory_type="bad")
""",
}


@pytest.mark.parametrize("drop", DROPS.values(), ids=DROPS)
def test_client_close_raises_failures_of_a_dropped_buffer(run: Run, url: str, drop: str) -> None:
    code = """
work_of_all()
try:
    client.close()
except BufferedWriteError as error:
    print("raised", [request.content for request, _ in error.failed], file=sys.stderr)
"""
    lines = run(url, NOBODY_HOLDS + drop + code).splitlines()

    assert [line for line in lines if line.startswith(("raised", "Lost"))] == ["raised ['precious']"]


@pytest.mark.parametrize("drop", DROPS.values(), ids=DROPS)
def test_exit_logs_failures_of_a_dropped_buffer(run: Run, url: str, drop: str) -> None:
    lines = run(url, NOBODY_HOLDS + drop + "\nwork_of_all()\ndel client\ngc.collect()").splitlines()

    assert sum(line.startswith("Lost: 1 memory could not be stored: ") for line in lines) == 1


def test_client_close_raises_memories_of_a_dropped_async_buffer(run: Run, url: str) -> None:
    code = """
log.close()

async def main():
    client = AsyncMemtrace(sys.argv[1])

    async def helper():
        await client.buffered(max_delay=0).remember("dropped", "precious", memory_type="bad")

    await helper()
    for thread in threading.enumerate():
        if thread.name == "memtrace-buffer":
            thread.join()
    gc.collect()
    try:
        await client.close()
    except BufferedWriteError as error:
        print("raised", [request.content for request, _ in error.failed], file=sys.stderr)

asyncio.run(main())
"""
    assert "raised ['precious']\n" in run(url, code)


def test_buffer_that_has_stored_all_can_be_collected(run: Run, url: str) -> None:
    code = """
log.flush()
dropped = weakref.ref(log)
del log
while dropped():  # until its thread has ended
    gc.collect()
"""
    assert run(url, code) == ""


def test_exit_that_is_interrupted_still_sends_all(run: Run, url: str) -> None:
    code = """
signal.signal(signal.SIGINT, signal.default_int_handler)
ending = threading.Event()

def handle(request):
    # The main thread waits for this one, or is about to, and then the signal does not wake it.
    while not ending.is_set():
        os.kill(os.getpid(), signal.SIGINT)
        ending.wait(1)
    sent = json.loads(request.content)["memories"]
    print("sent", [memory["content"] for memory in sent], file=sys.stderr)
    given = {"org_id": "o", "memory_type": "episodic", "event_type": "general"}
    return httpx.Response(201, json={"memories": [given | memory for memory in sent], "count": len(sent)})

busy = Memtrace(http_client=httpx.Client(transport=httpx.MockTransport(handle))).buffered(max_delay=3600)
busy.remember("busy", "second")
atexit.register(ending.set)
"""
    lines = run(url, code).splitlines()

    assert lines.count("sent ['second']") == 1


def test_exit_without_a_server_calls_on_failure(run: Run) -> None:
    code = """
def spool(error):
    print([request.content for request, _ in error.failed], file=sys.stderr)

async_log = AsyncMemtrace(sys.argv[1], max_retries=0).buffered(on_failure=spool)
asyncio.run(async_log.remember("task", "second"))
"""
    assert "['second']\n" in run("http://127.0.0.1:9", code)
