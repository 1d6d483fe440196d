"""Check that openapi.yaml keeps what the last released contract promised.

What a contract promises is written as lines: one for each operation, parameter, response, header and field,
with all its limits. Those of the last release are in tests/data/promises.txt. A newer contract may promise
more and accept more, never less. To break a promise on purpose, delete its line there, and name its subject
in CHANGELOG.md, in backticks.

`--update` writes the lines anew, from openapi.yaml or from a released wheel.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
OPENAPI = ROOT / "openapi.yaml"
PROMISES = ROOT / "tests" / "data" / "promises.txt"
CHANGELOG = ROOT / "CHANGELOG.md"

METHODS = ("get", "put", "post", "delete", "patch")
ROLES = (None, "reader", "writer", "admin")
# Keywords of a schema that decide nothing, that lead to other schemas, and that are read one by one.
_SILENT = {"description", "title", "example", "examples", "deprecated", "if", "x-missing-in-0x"}
_INNER = ("items", "additionalProperties", "propertyNames", "then")
_READ = {*_INNER, "properties", "anyOf", "oneOf", "enum", "x-extensible-enum", "$ref"}

Promises = dict[str, dict[str, Any]]
"""What a contract promises of each subject, such as `request AddMemoryRequest.content`."""


def main(arguments: list[str] | None = None) -> int:
    """Check or update; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="write the promises, unless one is broken and not named (default: check)",
    )
    parser.add_argument(
        "--anew", action="store_true", help="with --update, before a release: break any (default: off)"
    )
    parser.add_argument(
        "--contract",
        type=Path,
        default=OPENAPI,
        help="read this .yaml, .json or .whl (default: openapi.yaml)",
    )
    parser.add_argument(
        "--promises",
        type=Path,
        default=PROMISES,
        help="read and write this file (default: tests/data/promises.txt)",
    )
    parser.add_argument(
        "--changelog", type=Path, default=CHANGELOG, help="read this file (default: CHANGELOG.md)"
    )
    options = parser.parse_args(arguments)
    contract = load(options.contract)
    now, file = promises(contract), options.promises
    if not (file.exists() or options.update):
        parser.error(f"--promises: there is no {file}; write it with --update")
    before = read(file.read_text("utf-8")) if file.exists() else {}
    changelog = options.changelog.read_text("utf-8")
    broken = breaks(before, now)
    gone: dict[str, str] = {}
    if not options.anew:
        for earlier in _earlier(file):
            gone |= unnamed(breaks(earlier, now if options.update else before), changelog)
    if options.update:
        broken = {} if options.anew else unnamed(broken, changelog)
    for subject, why in broken.items():
        print(f"openapi.yaml breaks a promise: {subject}: {why}", file=sys.stderr)
    for subject in gone.keys() - broken.keys():
        print(
            f"{file.name} lacks `{subject}`, and {options.changelog.name} does not name it", file=sys.stderr
        )
    if broken or gone:
        print(f"\n{__doc__}", file=sys.stderr)
        return 1
    if options.update:
        file.write_text(render(now, contract["info"]["version"]), "utf-8")
    return 0


def load(path: Path) -> dict[str, Any]:
    """Load a contract from YAML, JSON or a wheel of this package."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            text = wheel.read("memtrace_api/openapi.json")
    else:
        text = path.read_bytes()
    contract: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return contract


def promises(contract: Mapping[str, Any]) -> Promises:
    """Return all promises of a contract."""
    return dict(_Walk(contract).promises())


def breaks(before: Promises, now: Promises) -> dict[str, str]:
    """Return the broken promises, and why each is broken."""
    broken = {}
    for subject, facts in before.items():
        reasons = list(_reasons(subject, facts, now[subject])) if subject in now else ["removed"]
        if reasons:
            broken[subject] = "; ".join(reasons)
    return broken


def unnamed(broken: dict[str, str], changelog: str) -> dict[str, str]:
    """Return the broken promises whose subject the changelog does not name."""
    return {subject: why for subject, why in broken.items() if f"`{subject}`" not in changelog}


def render(all_promises: Promises, version: str) -> str:
    """Write promises as lines, below a line that differs with each update."""
    lines = [
        f"{subject}\t{json.dumps(facts, sort_keys=True)}\n" for subject, facts in sorted(all_promises.items())
    ]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()[:12]
    return "".join([f"# What Memtrace {version} promises; see scripts/compatibility.py; {digest}\n", *lines])


def read(text: str) -> Promises:
    """Read promises from lines."""
    lines = [line.partition("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return {subject: json.loads(facts) for subject, _, facts in lines}


class _Walk:
    """A walk through a contract that visits each schema once for requests and once for responses."""

    def __init__(self, contract: Mapping[str, Any]) -> None:
        self._contract = contract
        self._seen: set[str] = set()

    def promises(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for path, item in self._contract["paths"].items():
            for method in METHODS:
                if method in item:
                    shared = item.get("parameters", [])
                    yield from self._operation(f"{method.upper()} {path}", item[method], shared)
        for name, scheme in self._contract["components"]["securitySchemes"].items():
            yield f"security {name}", {key: value for key, value in scheme.items() if key not in _SILENT}

    def _operation(
        self, route: str, operation: Mapping[str, Any], shared: list[Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        name = operation["operationId"]
        parameters = [self._resolve(node) for node in [*shared, *operation.get("parameters", [])]]
        body = self._resolve(operation.get("requestBody", {}))
        required = [f"{node['in']} {node['name']}" for node in parameters if node.get("required")]
        required += ["body"] if body.get("required") else []
        required += ["filter"] if operation.get("x-requires-filter") else []
        facts = {"route": route, "role": operation.get("x-role"), "required": sorted(required)}
        yield f"operation {name}", facts | {"key": operation.get("security") != []}
        for node in parameters:
            style = {key: node[key] for key in ("style", "explode") if key in node}
            yield from self._schema(f"request {name} {node['in']} {node['name']}", node["schema"], style)
        for media, content in body.get("content", {}).items():
            yield from self._schema(f"request {name} body {media}", content["schema"])
        for status, response in operation["responses"].items():
            yield from self._response(f"response {name} {status}", response)

    def _response(self, subject: str, response: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        if "$ref" in response:
            yield subject, {"response": _name(response["$ref"])}
            yield from self._named("response", response["$ref"], self._response)
            return
        yield subject, {}
        for header, node in response.get("headers", {}).items():
            resolved = self._resolve(node)
            always = {"always": True} if resolved.get("required") else {}
            yield from self._schema(f"{subject} header {header}", resolved["schema"], always)
        for media, content in response.get("content", {}).items():
            yield from self._schema(f"{subject} {media}", content["schema"])

    def _schema(
        self, subject: str, schema: Mapping[str, Any], more: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        way = subject.partition(" ")[0]
        facts = {key: value for key, value in schema.items() if key not in _SILENT | _READ}
        if isinstance(facts.get("type"), str):
            facts["type"] = [facts["type"]]
        values = schema.get("enum", schema.get("x-extensible-enum"))
        if values is not None:
            facts["enum"] = sorted(map(json.dumps, values))
        if "properties" in schema or "additionalProperties" in schema:
            facts["closed"] = schema.get("additionalProperties") is False
        choices = {_label(node): node for node in [*schema.get("anyOf", ()), *schema.get("oneOf", ())]}
        if choices:
            facts["choices"] = sorted(choices)
        if "$ref" in schema:
            facts["schema"] = _name(schema["$ref"])
            yield from self._named(way, schema["$ref"], self._schema)
        yield subject, facts | dict(more or {})
        inner = {f".{name}": node for name, node in schema.get("properties", {}).items()}
        inner |= {f"[{key}]": schema[key] for key in _INNER if isinstance(schema.get(key), dict)}
        for label, node in inner.items():
            yield from self._schema(subject + label, node)
        for label, node in choices.items():
            if "$ref" in node:
                yield from self._named(way, node["$ref"], self._schema)
            elif node.keys() != {"type"}:
                yield from self._schema(f"{subject}[{label}]", node)

    def _named(self, way: str, reference: str, walk: Callable[..., Iterator[Any]]) -> Iterator[Any]:
        """Visit a component the first time that it occurs on this path."""
        subject = f"{way} {_name(reference)}"
        if subject not in self._seen:
            self._seen.add(subject)
            yield from walk(subject, self._resolve({"$ref": reference}))

    def _resolve(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in node:
            target: Any = self._contract
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _label(choice: Mapping[str, Any]) -> str:
    """Name a branch of a choice, by its schema or its type."""
    return _name(choice["$ref"]) if "$ref" in choice else str(choice.get("type"))


def _reasons(subject: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    kind = subject.split(maxsplit=1)[0]
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if old != new and not _may_become(kind, key, old, new):
            yield f"{key} {json.dumps(old)} is now {json.dumps(new)}"


def _may_become(kind: str, key: str, old: Any, new: Any) -> bool:  # noqa: ANN401 - JSON
    """Return whether a fact may change: a request may accept more, a response may promise more."""
    if key in _RULES:
        wider = _RULES[key]
        return wider(old, new) if kind != "response" else wider(new, old)
    if key == "enum":  # that a newer server may send values which are not known is said in the contract
        return old is not None and new is not None and set(old) <= set(new)
    if key == "always":
        return bool(new)
    return False


def _is_superset(old: Any, new: Any) -> bool:  # noqa: ANN401 - JSON
    """Return whether a request that was valid still is; a missing list allows all."""
    return new is None or (
        old is not None and set(old) <= set(new) | ({"integer"} if "number" in new else set())
    )


def _is_subset(old: Any, new: Any) -> bool:  # noqa: ANN401 - JSON
    return set(new or ()) <= set(old or ())


def _is_lower(old: Any, new: Any) -> bool:  # noqa: ANN401 - JSON
    return new is None or (old is not None and new <= old)


def _is_higher(old: Any, new: Any) -> bool:  # noqa: ANN401 - JSON
    return new is None or (old is not None and new >= old)


def _is_dropped(_: Any, new: Any) -> bool:  # noqa: ANN401 - JSON
    return new is None


_RULES: Mapping[str, Callable[[Any, Any], bool]] = {
    "type": _is_superset,
    "choices": _is_superset,
    "required": _is_subset,
    "role": lambda old, new: ROLES.index(new) <= ROLES.index(old),
    "key": lambda _, new: not new,
    "closed": lambda _, new: not new,
    "pattern": _is_dropped,
    "format": _is_dropped,
    "uniqueItems": _is_dropped,
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), _is_lower),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), _is_higher),
}


def _earlier(file: Path) -> Iterator[Promises]:
    """Read the lines that were committed since the last update, newest first."""
    first = file.read_text("utf-8").partition("\n")[0] if file.exists() else ""
    for commit in _git(file.parent, "log", "--format=%H", "--", file.name).split():
        earlier = _git(file.parent, "show", f"{commit}:./{file.name}")
        if earlier.partition("\n")[0] != first:
            return
        yield read(earlier)


def _git(folder: Path, *arguments: str) -> str:
    """Run git; return nothing outside a repository, as in an unpacked sdist."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S607
    return done.stdout if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
