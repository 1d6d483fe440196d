"""The pytest plugin in a project that has memtrace-sdk installed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent

import anyio
import httpx
import pytest

from memtrace import APIConnectionError
from memtrace.testing import MemtraceServer, ServerProcess


class Project:
    """A project with no other plugin, whose tests run in their own process.

    Not by pytester, which removes all imports of a test from sys.modules: httpx would then know two
    httpcores.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed = ""

    def test(self, code: str) -> dict[str, int]:
        """Run the tests of a file, where a warning is an error, and count the outcomes."""
        (self.folder / "test_it.py").write_text(dedent(code))
        self.run("-W", "error")
        return pytest.RunResult.parse_summary_nouns(self.printed.splitlines())

    def run(self, *arguments: str) -> None:
        """Run pytest."""
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "memtrace.pytest_plugin", *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
        self.printed = done.stdout
        print(self.printed)  # noqa: T201  # pytest shows it if the test fails


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_plugin_is_found_by_its_entry_point() -> None:
    (found,) = (point for point in entry_points(group="pytest11") if point.name == "memtrace")

    assert found.value == "memtrace.pytest_plugin"


def test_plugin_without_a_fixture_imports_nothing(project: Project) -> None:
    outcomes = project.test(
        """
        import sys

        def test_it():
            ours = {name for name in sys.modules if name.startswith("memtrace")}
            assert ours == {"memtrace", "memtrace.pytest_plugin"}
            assert not {"httpx", "httpcore", "attrs", "msgspec"} & set(sys.modules)
        """
    )

    assert outcomes == {"passed": 1}


def test_clients_of_the_fixtures_log_no_warning(project: Project) -> None:
    outcomes = project.test(
        """
        def test_it(memtrace, async_memtrace, caplog):
            memtrace.remember("ann", "Likes tea")
            assert [record for when in ("setup", "call") for record in caplog.get_records(when)] == []
        """
    )

    assert outcomes == {"passed": 1}


def test_failure_that_never_happens_is_an_error_of_the_test(project: Project) -> None:
    outcomes = project.test(
        """
        def test_happens(memtrace, fail_next):
            fail_next(status=503)
            memtrace.list_agents()

        def test_does_not(memtrace, fail_next):
            fail_next(status=503, times=2)
        """
    )

    assert outcomes == {"passed": 2, "errors": 1}
    assert "ERROR at teardown of test_does_not" in project.printed
    assert "\nfail_next: never happened: status 503 (2 times);" in project.printed
    assert "exception occurred" not in project.printed


def test_fixture_without_the_extra_names_what_to_install(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = project.folder / "absent"
    absent.mkdir()
    for name in ("jsonschema_rs", "uvicorn"):
        message = f"No module named '{name}'"
        (absent / f"{name}.py").write_text(f"raise ModuleNotFoundError({message!r}, name={name!r})")
    monkeypatch.setenv("PYTHONPATH", str(absent))
    fixtures = ("memtrace", "async_memtrace", "memtrace_server")

    outcomes = project.test("".join(f"def test_{each}({each}): ...\n" for each in fixtures))

    assert outcomes == {"errors": 3}
    for each in fixtures:
        _, _, said = project.printed.partition(f" ERROR at setup of test_{each} ")
        assert "pip install 'memtrace-sdk[server]'" in said.partition(" ERROR at setup")[0]
    assert "Traceback" not in project.printed
    assert "exception occurred" not in project.printed


def test_fixtures_option_describes_each_fixture(project: Project) -> None:
    project.run("--fixtures")

    for name in ("memtrace", "async_memtrace", "fail_next", "memtrace_server"):
        assert re.search(rf"^{name}\b.* -- .*pytest_plugin.py.*\n    \S", project.printed, re.MULTILINE)
    assert re.search(r"^_memtrace", project.printed, re.MULTILINE) is None


def test_memtrace_server_starts_once_and_stops(project: Project) -> None:
    outcomes = project.test(
        """
        from pathlib import Path
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(memtrace_server, number):
            with Path("urls").open("a") as urls:
                print(memtrace_server.url, file=urls)
            client = memtrace_server.client()
            client.remember("agent_1", "The same in each organisation")
            assert client.recall("agent_1").count == 1
        """
    )
    first, second = (project.folder / "urls").read_text().split()

    assert outcomes == {"passed": 2}
    assert first == second
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{first}/health")


def test_memtrace_server_serves_both_clients(memtrace_server: MemtraceServer) -> None:
    memory = memtrace_server.client(max_retries=0).remember("agent_1", "Over a socket")

    async def recall() -> None:
        async with memtrace_server.async_client(timeout=5.0) as client:
            assert (await client.recall("agent_1")).memories == [memory]

    anyio.run(recall)


def test_memtrace_server_is_found_by_its_environment(memtrace_server: MemtraceServer, tmp_path: Path) -> None:
    code = "import memtrace; print(memtrace.Memtrace().remember('agent_1', 'Mine').id)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=tmp_path,
        env=memtrace_server.environment,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )

    assert memtrace_server.client().get_memory(done.stdout.strip()).content == "Mine"


def test_memtrace_server_is_empty_in_each_test(memtrace_server: MemtraceServer) -> None:
    assert memtrace_server.client().list_memories().memories == []
    assert memtrace_server.client().list_agents().agents == []


def test_close_ends_the_connections_of_clients(memtrace_server: MemtraceServer) -> None:
    server = MemtraceServer(memtrace_server.url, memtrace_server.key)
    client = server.client()
    client.health()
    server.close()

    with pytest.raises(APIConnectionError, match="closed"):
        client.health()


def test_repr_of_memtrace_server_has_no_key(memtrace_server: MemtraceServer) -> None:
    assert repr(memtrace_server) == f"MemtraceServer(url={memtrace_server.url!r})"


def test_server_process_ends_with_its_parent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "memtrace.testing._tethered", "serve", "--port", "0"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        assert any("Memtrace serves on" in line for line in process.stderr)
        process.stdin.write("What is written does not matter.\n")
        process.stdin.close()
        assert process.wait(60) == 0


def test_server_process_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    deaf = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('Memtrace serves on http://127.0.0.1:1', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with ServerProcess(tmp_path, memtrace=(sys.executable, "-I", "-c", deaf)) as server:
        server.patience = 0.1

    assert (server.url, server.returncode) == ("http://127.0.0.1:1", -signal.SIGKILL)


def test_server_process_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "--port", "nonsense")

    with pytest.raises(RuntimeError, match=r"The server did not start:(.|\n)*--port"):
        server.__enter__()

    assert server.returncode == 2
