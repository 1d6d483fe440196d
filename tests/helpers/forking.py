"""Run Python programs in forks of one interpreter, which has imported what takes long.

A start of `memtrace` takes half a second of a processor, nearly all of it for imports. A fork takes a tenth,
and is a process with its own arguments, folder, environment, streams, signals and exit code. Tests of what an
interpreter reads as it starts, such as its locale, start a real one.

    forking.py --serve SOCKET MODULE…   import modules, print a line, and fork until standard input ends
    forking.py SOCKET -m MODULE …       run a program as `python -m MODULE …` does
    forking.py SOCKET SCRIPT …          run a program as `python SCRIPT …` does
"""

from __future__ import annotations

import gc
import importlib
import marshal
import os
import select
import signal
import socket
import sys

_STREAMS = (0, 1, 2)


def launch(address: str, arguments: list[str]) -> None:
    """Run a program in a fork, pass signals on to it, and end as it ends."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    program = marshal.dumps((arguments, os.getcwd(), dict(os.environ)))  # noqa: PTH109 - pathlib takes long to import
    socket.send_fds(connection, [len(program).to_bytes(4)], _STREAMS)
    connection.sendall(program)
    pid = int.from_bytes(connection.recv(4))
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, _: os.kill(pid, number))
    ended = int.from_bytes(connection.recv(4), signed=True)
    if ended < 0:
        signal.signal(-ended, signal.SIG_DFL)
        os.kill(os.getpid(), -ended)
    os._exit(ended)


def serve(address: str, modules: list[str]) -> None:
    """Fork until standard input ends; return in each fork, where `sys.argv` is the program's."""
    for module in modules:
        importlib.import_module(module)
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _keep(connection)
            return
        connection.close()
    os._exit(0)


def _keep(connection: socket.socket) -> None:
    """Fork again and return in the fork; report its end to its launcher, or end it with its launcher."""
    size, streams, _, _ = socket.recv_fds(connection, 4, len(_STREAMS))
    with connection.makefile("rb") as file:
        arguments, folder, environment = marshal.loads(file.read(int.from_bytes(size)))  # noqa: S302 - from `launch`
    has_ended, runs = os.pipe()
    pid = os.fork()
    if pid == 0:
        connection.close()
        os.close(has_ended)
        for given, stream in zip(streams, _STREAMS, strict=True):
            os.dup2(given, stream)
            os.close(given)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        # As an interpreter opens them.
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115
        sys.stdout = open(1, "w", 1 if os.isatty(1) else -1, encoding="utf-8")  # noqa: SIM115
        sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        sys.argv[:] = arguments
        return
    os.close(runs)
    for given in streams:
        os.close(given)
    connection.sendall(pid.to_bytes(4))
    if has_ended not in select.select([has_ended, connection.fileno()], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        connection.sendall(ended.to_bytes(4, signed=True))
    finally:
        os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] != "--serve":
        launch(sys.argv[1], sys.argv[2:])
    import runpy

    serve(sys.argv[2], sys.argv[3:])
    if sys.argv[0] == "-m":
        runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(sys.argv[0]))  # noqa: PTH120 - as above
        runpy.run_path(sys.argv[0], run_name="__main__")
