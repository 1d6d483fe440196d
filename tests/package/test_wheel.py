"""The wheel, installed on a machine without a clone."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from live import LiveServer

if TYPE_CHECKING:
    from conftest import CreateVenv

    from memtrace.testing import MemtraceServer

ROOT = Path(__file__).parents[2]
LIST_INSTALLED = """
import importlib.metadata, json
print(json.dumps([distribution.name.lower() for distribution in importlib.metadata.distributions()]))
"""
REMEMBER = """
from memtrace import Memtrace
with Memtrace() as client:
    client.remember("agent_1", "Installed from a wheel")
    print(client.recall("agent_1").memories[0].content)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, ROOT], check=True
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def plain(wheel: Path, create_venv: CreateVenv, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create_venv(tmp_path_factory.mktemp("plain"), str(wheel))


@pytest.fixture(scope="module")
def with_cli(wheel: Path, create_venv: CreateVenv, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create_venv(tmp_path_factory.mktemp("cli"), f"{wheel}[cli]")


@pytest.fixture(scope="module")
def with_server(wheel: Path, create_venv: CreateVenv, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create_venv(tmp_path_factory.mktemp("server"), f"{wheel}[server]")


def run(
    python: Path, code: str, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-I", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_wheel_has_the_three_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (archive.read(name) for name in names if name.endswith("/entry_points.txt"))

    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"memtrace", "memtrace_api", "memtrace_server"}
    assert {f"{top}/py.typed" for top in tops} <= set(names)
    page = {f"memtrace_server/ui/{file.name}" for file in (ROOT / "src/memtrace_server/ui").iterdir()}
    assert len(page) > 10
    assert page <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert b"[pytest11]\nmemtrace = memtrace.pytest_plugin\n" in entry_points


def test_wheel_alone_installs_its_dependencies_and_no_others(plain: Path, tmp_path: Path) -> None:
    installed = set(json.loads(run(plain, LIST_INSTALLED, tmp_path).stdout))

    assert {"memtrace-sdk", "attrs", "httpx", "msgspec"} <= installed
    needed_by_httpx = {"anyio", "certifi", "h11", "httpcore", "idna", "sniffio", "typing_extensions"}
    assert installed - {"memtrace-sdk", "attrs", "httpx", "msgspec"} <= needed_by_httpx


def test_wheel_alone_is_a_client(plain: Path, tmp_path: Path, memtrace_server: MemtraceServer) -> None:
    assert run(plain, REMEMBER, tmp_path, memtrace_server.environment).stdout == "Installed from a wheel\n"


def test_script_of_the_wheel_alone_names_what_to_install(plain: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [plain.with_name("memtrace"), "serve"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert done.returncode != 0
    assert "pip install 'memtrace-sdk[cli]', or 'memtrace-sdk[server]' to serve" in done.stderr
    assert "Traceback" not in done.stderr


def test_embedded_memory_of_the_wheel_alone_names_what_to_install(plain: Path, tmp_path: Path) -> None:
    done = run(plain, "from memtrace import Memtrace; Memtrace('sqlite://').recall('agent_1')", tmp_path)

    assert "pip install 'memtrace-sdk[server]'" in done.stderr.splitlines()[-1]


def test_script_with_the_extra_cli_works_with_a_server(
    with_cli: Path, tmp_path: Path, memtrace_server: MemtraceServer
) -> None:
    def memtrace(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [with_cli.with_name("memtrace"), *arguments], cwd=tmp_path, env=memtrace_server.environment,
            capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip

    assert "serve" in memtrace("--help").stdout
    assert memtrace("export").stdout == ""
    for needs_the_server in (
        ["serve"], ["org", "list"], ["check"], ["forget", "--agent", "a", "--url", "sqlite://"],
    ):  # fmt: skip
        error = memtrace(*needs_the_server).stderr
        assert "pip install 'memtrace-sdk[server]'" in error
        assert error.count("\n") == 1


def test_wheel_with_the_extra_server_serves_from_any_folder(with_server: Path, tmp_path: Path) -> None:
    memtrace = (str(with_server.with_name("memtrace")),)
    with LiveServer(tmp_path, memtrace=memtrace) as server:
        environment = {"MEMTRACE_URL": server.url, "MEMTRACE_API_KEY": server.key}
        assert run(with_server, REMEMBER, tmp_path, environment).stdout == "Installed from a wheel\n"
        assert httpx.get(f"{server.url}/ui/main.js").status_code == 200
        assert httpx.get(f"{server.url}/docs").headers["content-type"] == "text/html; charset=utf-8"
    assert server.returncode == 0


def test_wheel_with_the_extra_server_has_embedded_memory(with_server: Path, tmp_path: Path) -> None:
    done = run(with_server, REMEMBER, tmp_path, {"MEMTRACE_URL": "sqlite:///agent.db"})

    assert done.stdout == "Installed from a wheel\n"
    assert (tmp_path / "agent.db").exists()
