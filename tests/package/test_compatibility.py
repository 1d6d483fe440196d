"""Breaking changes of the contract are found, and need a line in the changelog."""

from __future__ import annotations

import copy
import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compatibility
import pytest
import yaml

CONTRACT: dict[str, Any] = compatibility.load(compatibility.OPENAPI)
MEMORIES = "/api/v1/memories"

Change = Callable[[dict[str, Any]], object]


def fields(contract: dict[str, Any], schema: str) -> dict[str, Any]:
    found: dict[str, Any] = contract["components"]["schemas"][schema]["properties"]
    return found


def require_session(contract: dict[str, Any]) -> None:
    contract["components"]["schemas"]["AddMemoryRequest"]["required"].append("session_id")


def require_a_new_parameter(contract: dict[str, Any]) -> None:
    parameter = {"name": "reason", "in": "query", "required": True, "schema": {"type": "string"}}
    contract["paths"][MEMORIES]["get"]["parameters"].append(parameter)


def add_optional_things(contract: dict[str, Any]) -> None:
    mood = {"type": ["string", "null"], "maxLength": 20}
    for schema in ("AddMemoryRequest", "Memory"):
        fields(contract, schema)["mood"] = mood
    contract["paths"][MEMORIES]["get"]["parameters"].append({"name": "mood", "in": "query", "schema": mood})
    contract["paths"]["/api/v1/moods"] = {"get": {"operationId": "listMoods", "responses": {}}}
    contract["paths"][MEMORIES]["get"]["responses"]["418"] = {"description": "A teapot."}
    contract["components"]["schemas"]["MemoryType"]["enum"].append("mood")
    fields(contract, "Error")["code"]["x-extensible-enum"].append("too_moody")


def widen_what_is_accepted(contract: dict[str, Any]) -> None:
    content = fields(contract, "AddMemoryRequest")["content"]
    content["maxLength"] += 1
    del content["pattern"]
    fields(contract, "AddMemoryRequest")["importance"]["type"].append("string")
    contract["components"]["schemas"]["AddMemoryRequest"]["required"].remove("agent_id")
    contract["paths"][MEMORIES]["delete"]["x-role"] = "writer"


def promise_more(contract: dict[str, Any]) -> None:
    contract["components"]["schemas"]["MemoryList"]["required"].append("next_cursor")
    fields(contract, "Memory")["importance"]["type"] = ["number"]


def say_it_in_other_words(contract: dict[str, Any]) -> None:
    contract["info"]["description"] = "Other words."
    fields(contract, "Memory")["content"] |= {"description": "Other words.", "examples": ["x"]}


BREAKS: dict[str, tuple[Change, str]] = {
    "an operation is removed": (lambda c: c["paths"][MEMORIES].pop("get"), "operation listMemories"),
    "a path is renamed": (
        lambda c: c["paths"].update({"/memories": c["paths"].pop(MEMORIES)}),
        "operation listMemories",
    ),
    "a field of a response is removed": (
        lambda c: fields(c, "Memory").pop("importance"),
        "response Memory.importance",
    ),
    "a field of a request is removed": (
        lambda c: fields(c, "SearchQuery").pop("metadata"),
        "request SearchQuery.metadata",
    ),
    "a value is removed": (
        lambda c: c["components"]["schemas"]["MemoryType"]["enum"].remove("entity"),
        "request MemoryType",
    ),
    "an error code is removed": (
        lambda c: fields(c, "Error")["code"]["x-extensible-enum"].remove("rate_limited"),
        "response Error.code",
    ),
    "a status is removed": (
        lambda c: c["paths"][MEMORIES]["post"]["responses"].pop("409"),
        "response addMemory 409",
    ),
    "a field becomes required": (require_session, "request AddMemoryRequest"),
    "a new parameter is required": (require_a_new_parameter, "operation listMemories"),
    "a limit is narrower": (
        lambda c: fields(c, "AddMemoryRequest")["content"].update(maxLength=100),
        "request AddMemoryRequest.content",
    ),
    "a limit is new": (
        lambda c: fields(c, "SearchQuery")["order"].update(maxLength=4),
        "request SearchQuery.order",
    ),
    "a pattern is another": (
        lambda c: c["components"]["schemas"]["Tag"].update(pattern="^[a-z]+$"),
        "request Tag",
    ),
    "a type is narrower": (
        lambda c: fields(c, "AddMemoryRequest")["ttl"].update(type="integer"),
        "request AddMemoryRequest.ttl",
    ),
    "a response may be null": (
        lambda c: fields(c, "Memory")["content"].update(type=["string", "null"]),
        "response Memory.content",
    ),
    "a response may lack a field": (
        lambda c: c["components"]["schemas"]["Memory"]["required"].remove("id"),
        "response Memory",
    ),
    "a response has another schema": (
        lambda c: c["components"]["responses"]["MemoryPage"]["content"]["application/json"]["schema"].update(
            {"$ref": "#/components/schemas/AgentList"}
        ),
        "response MemoryPage application/json",
    ),
    "a default is another": (
        lambda c: fields(c, "ContextOptions")["max_tokens"].update(default=1000),
        "request ContextOptions.max_tokens",
    ),
    "a role is higher": (
        lambda c: c["paths"][MEMORIES]["post"].update({"x-role": "admin"}),
        "operation addMemory",
    ),
    "a key is needed": (lambda c: c["paths"]["/health"]["get"].pop("security"), "operation getHealth"),
    "a way to send the key is removed": (
        lambda c: c["components"]["securitySchemes"].pop("bearer"),
        "security bearer",
    ),
    "a header is removed": (
        lambda c: c["components"]["responses"]["RateLimited"]["headers"].pop("Retry-After"),
        "response RateLimited header Retry-After",
    ),
    "a list is sent otherwise": (
        lambda c: c["components"]["parameters"]["TagsFilter"].update(explode=True),
        "request listMemories query tags",
    ),
}
ADDITIONS: dict[str, Change] = {
    "optional things": add_optional_things,
    "wider requests": widen_what_is_accepted,
    "fuller responses": promise_more,
    "other words": say_it_in_other_words,
}


def changed(change: Change) -> dict[str, Any]:
    contract = copy.deepcopy(CONTRACT)
    change(contract)
    return contract


@pytest.mark.parametrize(("change", "subject"), BREAKS.values(), ids=BREAKS)
def test_a_break_is_found_and_named(change: Change, subject: str) -> None:
    broken = compatibility.breaks(compatibility.promises(CONTRACT), compatibility.promises(changed(change)))
    assert subject in broken


@pytest.mark.parametrize("change", ADDITIONS.values(), ids=ADDITIONS)
def test_an_addition_breaks_nothing(change: Change) -> None:
    before, now = compatibility.promises(CONTRACT), compatibility.promises(changed(change))
    assert compatibility.breaks(before, now) == {}
    if change is not say_it_in_other_words:
        assert now != before


def test_contract_keeps_the_promises_of_the_last_release() -> None:
    assert compatibility.main([]) == 0


class Project:
    """A repository with a contract, the promises of its last release, and a changelog."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contract, self.promises = folder / "openapi.yaml", folder / "promises.txt"
        self.changelog = folder / "CHANGELOG.md"
        self.contract.write_text(yaml.safe_dump(CONTRACT), "utf-8")
        self.changelog.write_text("# Changelog\n", "utf-8")
        self.git("init", "--quiet")
        assert self.check("--update") == 0
        self.commit()

    def check(self, *arguments: str) -> int:
        files = {"contract": self.contract, "promises": self.promises, "changelog": self.changelog}
        options = [text for name, file in files.items() for text in (f"--{name}", str(file))]
        return compatibility.main([*options, *arguments])

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("-c", "user.name=n", "-c", "user.email=e@x", "commit", "--quiet", "--message", "Change")

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.folder, check=True)  # noqa: S607

    def change(self, change: Change) -> None:
        self.contract.write_text(yaml.safe_dump(changed(change)), "utf-8")

    def withdraw(self, subject: str) -> None:
        lines = self.promises.read_text("utf-8").splitlines(keepends=True)
        left = [line for line in lines if not line.startswith((f"{subject}\t", f"{subject}."))]
        assert len(left) < len(lines)
        self.promises.write_text("".join(left), "utf-8")

    def note(self, text: str) -> None:
        self.changelog.write_text(f"# Changelog\n\n- {text}\n", "utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


REMOVE, REMOVED = BREAKS["a field of a response is removed"]


@pytest.mark.parametrize("where", ["in the work tree", "committed"])
def test_a_withdrawn_promise_needs_a_line_in_the_changelog(
    project: Project, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project.change(REMOVE)
    assert project.check() == 1
    assert f"openapi.yaml breaks a promise: {REMOVED}: removed" in capsys.readouterr().err

    project.withdraw(REMOVED)
    if where == "committed":
        project.commit()
    assert project.check() == 1
    assert f"promises.txt lacks `{REMOVED}`, and CHANGELOG.md does not name it" in capsys.readouterr().err

    project.note(f"Removed `{REMOVED}`, which nobody used.")
    assert project.check() == 0


def test_update_refuses_a_break_that_the_changelog_does_not_name(project: Project) -> None:
    written = project.promises.read_text("utf-8")
    project.change(REMOVE)
    assert project.check("--update") == 1
    assert project.promises.read_text("utf-8") == written
    project.withdraw(REMOVED)
    assert project.check("--update") == 1

    project.note(f"Removed `{REMOVED}`.")
    assert project.check("--update") == 0
    assert REMOVED not in project.promises.read_text("utf-8")
    project.note("A new chapter.")
    assert project.check() == 0


def test_promises_can_be_written_anew_before_a_release(project: Project) -> None:
    project.change(REMOVE)
    assert project.check("--update", "--anew") == 0
    assert project.check() == 0
    project.commit()
    assert project.check() == 0


def test_update_after_an_addition_promises_the_addition(project: Project) -> None:
    project.change(add_optional_things)
    assert project.check() == 0
    assert "mood" not in project.promises.read_text("utf-8")

    assert project.check("--update") == 0
    project.commit()
    project.change(lambda _: None)
    assert project.check() == 1


def test_promises_can_be_taken_from_a_released_wheel(project: Project) -> None:
    wheel = project.folder / "memtrace_sdk-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("memtrace_api/openapi.json", json.dumps(CONTRACT))
    written = project.promises.read_text("utf-8")
    project.promises.unlink()

    assert project.check("--update", "--contract", str(wheel)) == 0
    assert project.promises.read_text("utf-8") == written


def test_a_check_without_promises_is_an_error(project: Project) -> None:
    project.promises.unlink()
    with pytest.raises(SystemExit) as exited:
        project.check()
    assert exited.value.code == 2
