"""Rules of openapi.yaml that all derived files depend on."""

from __future__ import annotations

import calendar
import datetime as dt
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import compatibility
import jsonschema_rs
import openapi_spec_validator
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENAPI = Path(__file__).parents[2] / "openapi.yaml"
CONTRACT: dict[str, Any] = compatibility.load(compatibility.OPENAPI)
SCHEMAS: dict[str, Any] = CONTRACT["components"]["schemas"]
METHODS = ("get", "put", "post", "delete", "patch")
OPERATIONS: dict[str, dict[str, Any]] = {
    operation["operationId"]: {
        **operation,
        "method": method,
        "parameters": [*path.get("parameters", []), *operation.get("parameters", [])],
    }
    for path in CONTRACT["paths"].values()
    for method, operation in path.items()
    if method in METHODS
}


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = CONTRACT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def has_description(node: dict[str, Any]) -> bool:
    return bool(node.get("description") or resolved(node).get("description"))


def has_example(node: dict[str, Any]) -> bool:
    """Return whether a node has an example, refers to one, or consists of nodes that have one.

    Cursors have none: each is signed.
    """
    if "example" in node or "examples" in node or node is SCHEMAS["Cursor"]:
        return True
    if "$ref" in node:
        return has_example(resolved(node))
    parts = [*node.get("properties", {}).values(), *node.get("anyOf", []), *node.get("oneOf", [])]
    parts += [node["items"]] if "items" in node else []
    parts += [node["schema"]] if "schema" in node else []
    return any(has_example(part) for part in parts)


def properties() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{name}.{field}", node)
        for name, schema in SCHEMAS.items()
        for field, node in schema.get("properties", {}).items()
    ]


def example_values() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yield each example of the contract: its path, its schema, its value."""
    for name, schema in [*SCHEMAS.items(), *properties()]:
        for example in schema.get("examples", []):
            yield name, schema, example
    for operation_id, operation in OPERATIONS.items():
        for parameter in map(resolved, operation["parameters"]):
            if "example" in parameter:
                yield f"{operation_id}.{parameter['name']}", parameter["schema"], parameter["example"]
        for media in media_types(operation):
            values = [named["value"] for named in media.get("examples", {}).values()]
            values += [media["example"]] if "example" in media else []
            for value in values:
                yield operation_id, media["schema"], value


def media_types(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the media types of the request and of each response."""
    bodies = [operation.get("requestBody", {}), *map(resolved, operation["responses"].values())]
    return [media for body in bodies for media in body.get("content", {}).values()]


def test_contract_is_valid_openapi() -> None:
    openapi_spec_validator.validate(CONTRACT)


def test_yaml_1_1_and_1_2_read_the_same_contract() -> None:
    # The generator reads YAML 1.2, and most other tools 1.1, where `no` is false and 1:30 is a number.
    assert YAML(typ="safe", pure=True).load(OPENAPI) == CONTRACT


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_operation_has_a_summary_and_a_description(operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert operation["tags"]
    for parameter in map(resolved, operation["parameters"]):
        assert has_description(parameter), parameter["name"]
        assert has_example(parameter), parameter["name"]
    for media in operation.get("requestBody", {}).get("content", {}).values():
        assert has_example(media)


def inputs(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parameters and the fields of a body, by name."""
    found = {parameter["name"]: parameter for parameter in map(resolved, operation["parameters"])}
    for media in operation.get("requestBody", {}).get("content", {}).values():
        found |= resolved(media["schema"]).get("properties", {})
    return found


def test_no_cursor_is_shown_as_an_example() -> None:
    # No server accepts one that it did not sign, so a request made of examples would fail.
    for place, schema, value in example_values():
        assert resolved(schema) is not SCHEMAS["Cursor"], place
        assert not {"cursor", "next_cursor"} & set(keys_of(value)), place


def keys_of(value: Any) -> Iterator[str]:
    """Yield each key of a JSON value, at any depth."""
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys_of(part)
    if isinstance(value, dict):
        yield from value


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_operation_documents_its_errors(operation: dict[str, Any]) -> None:
    statuses = set(operation["responses"])
    expected = {"400", "405", "500"}
    if operation.get("security") != []:
        expected |= {"401", "403", "429", "503"}
    taken = inputs(operation)
    if "cursor" in taken or any(node.get("in") == "path" for node in taken.values()):
        expected |= {"404"}
    if "requestBody" in operation:
        expected |= {"413", "415"}
    assert expected <= statuses
    # `default`, or 4XX, would make every status conform.
    assert all(status.isdigit() for status in statuses)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_response_is_described_and_names_its_request(operation: dict[str, Any]) -> None:
    for status, answer in operation["responses"].items():
        assert has_description(answer), status
        headers = resolved(answer)["headers"]
        assert resolved(headers["X-Request-Id"])["required"], status
        for name, header in headers.items():
            assert has_description(header), name
            assert has_example(resolved(header)), name


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_write_and_nothing_else_takes_an_idempotency_key(operation: dict[str, Any]) -> None:
    writes = operation.get("x-role") in {"writer", "admin"} and operation["operationId"] != "vacuumStore"
    takes_key = "Idempotency-Key" in [resolved(parameter)["name"] for parameter in operation["parameters"]]
    assert takes_key == writes
    assert ("409" in operation["responses"]) == writes


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_no_parameter_is_an_object(operation: dict[str, Any]) -> None:
    # Clients of other languages send `filter[agent_id]`, whatever style it has.
    for parameter in map(resolved, operation["parameters"]):
        schema = resolved(parameter["schema"])
        assert schema.get("type") != "object", parameter["name"]
        assert "properties" not in schema, parameter["name"]


def test_filters_of_lists_are_those_of_deletions() -> None:
    listed, forgotten = (
        {name: node for name, node in inputs(OPERATIONS[operation]).items() if node["in"] == "query"}
        for operation in ("listMemories", "forgetMemories")
    )
    showing = {"as_of", "include_superseded", "order", "limit", "cursor", "offset"}
    assert forgotten == {name: node for name, node in listed.items() if name not in showing}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_list_in_a_query_is_comma_separated(operation: dict[str, Any]) -> None:
    # The generator does not tell its templates how a list is written, so the templates assume this style.
    for parameter in map(resolved, operation["parameters"]):
        if parameter["in"] == "query" and resolved(parameter["schema"]).get("type") == "array":
            assert (parameter["style"], parameter["explode"]) == ("form", False), parameter["name"]


@pytest.mark.parametrize(
    ("name", "node"), properties(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_property_has_a_description_and_an_example(name: str, node: dict[str, Any]) -> None:
    assert has_description(node), name
    assert has_example(node), name


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_has_a_description_and_an_example(name: str) -> None:
    assert has_description(SCHEMAS[name])
    assert has_example(SCHEMAS[name])


def test_every_example_is_valid() -> None:
    seen = 0
    for place, schema, value in example_values():
        whole = {
            "$schema": CONTRACT["jsonSchemaDialect"],
            "components": CONTRACT["components"],
            "allOf": [schema],
        }
        errors = [error.message for error in jsonschema_rs.validator_for(whole).iter_errors(value)]
        assert not errors, f"{place}: {errors}"
        seen += 1
    assert seen > len(OPERATIONS)


PAGES = {
    "MemoryBatch": "memories",
    "MemoryList": "memories",
    "SearchResult": "results",
    "AgentList": "agents",
    "SessionList": "sessions",
}


@pytest.mark.parametrize("name", ["Access", "Memory", "Agent", "AgentStats", "Session", *PAGES])
def test_example_of_a_whole_schema_is_consistent(name: str) -> None:
    # A mock server would otherwise combine unrelated examples of single fields.
    [example] = SCHEMAS[name]["examples"]
    assert set(SCHEMAS[name]["required"]) <= set(example)
    assert not example.get("has_more")  # a page with more has a cursor, and a cursor has no example
    if name in PAGES:
        assert example["count"] == len(example[PAGES[name]])
    assert (example.get("status") == "closed") == ("closed_at" in example)
    assert sum(example.get("memory_types", {}).values()) == example.get("memory_count", 0)


@pytest.mark.parametrize("name", PAGES)
def test_example_of_a_page_has_the_examples_of_its_items(name: str) -> None:
    [example] = SCHEMAS[name]["examples"]
    listed = resolved(SCHEMAS[name]["properties"][PAGES[name]]["items"])
    assert example[PAGES[name]] == listed["examples"]


def test_fuzzer_runs_every_check_and_every_operation() -> None:
    settings = tomllib.loads(OPENAPI.with_name("schemathesis.toml").read_text("utf-8"))
    assert not settings.keys() & {"checks", "hooks"}
    for operation in settings["operations"]:
        assert set(operation) <= {"include-operation-id", "generation", "warnings"}
        assert set(operation.get("generation", {})) <= {"max-examples"}
    assert not settings["phases"].keys() - {"examples", "stateful"}


TIMESTAMP = re.compile(SCHEMAS["Timestamp"]["pattern"].removeprefix("^").removesuffix("$"))


@settings(deadline=None)
@given(st.from_regex(TIMESTAMP, fullmatch=True))
def test_every_timestamp_that_the_pattern_matches_exists(text: str) -> None:
    parsed = dt.datetime.fromisoformat(re.sub(r"\.[0-9]+", "", text))
    assert parsed.tzinfo is not None


def test_the_pattern_matches_the_days_of_1970_to_2199_and_no_others() -> None:
    for year in range(1968, 2202):
        for month in range(14):
            days = calendar.monthrange(year, month)[1] if 1 <= month <= 12 and 1970 <= year <= 2199 else 0
            for day in range(33):
                date = f"{year}-{month:02}-{day:02}"
                for zone in ("Z", "+14:59", "-14:59"):
                    text = f"{date}T23:59:59.123456789{zone}"
                    is_edge = date in {"1970-01-01", "2199-12-31"} and zone != "Z"
                    assert bool(TIMESTAMP.fullmatch(text)) == (1 <= day <= days and not is_edge), text


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-01",
        "2026-11-01T09:30:00",
        "2026-11-01 09:30:00Z",
        "2026-11-01T24:00:00Z",
        "2026-11-01T09:60:00Z",
        "2026-11-01T09:30:60Z",
        "2026-11-01T09:30:00.Z",
        "2026-11-01T09:30:00.1234567890Z",
        "2026-11-01T09:30:00+15:00",
        "2026-11-01T09:30:00+02",
        "2026-11-01T09:30:00z",
    ],
)
def test_pattern_matches_no_ambiguous_time(text: str) -> None:
    assert not TIMESTAMP.fullmatch(text)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_choice_of_schemas_in_a_body_has_a_title(operation: dict[str, Any]) -> None:
    # Generators name the type of an unnamed choice after its first branch, and so overwrite that branch.
    for media in media_types(operation):
        if "oneOf" in media["schema"]:
            assert media["schema"]["title"] not in SCHEMAS


def test_a_json_value_has_no_keyword_that_names_a_type() -> None:
    # openapi-typescript reads `items` as an array and `properties` as an object; under `then`, `unknown`.
    assert set(SCHEMAS["JsonValue"]) == {"description", "if", "then", "examples"}


@pytest.mark.parametrize(
    ("name", "node"), properties(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_property_that_0x_lacks_is_required_and_of_one_type(name: str, node: dict[str, Any]) -> None:
    if node.get("x-missing-in-0x"):
        schema, field = name.split(".")
        assert field in SCHEMAS[schema]["required"]
        assert isinstance(node["type"], str)


def test_properties_that_0x_lacks_are_marked_in_the_contract() -> None:
    marked = {name for name, node in properties() if node.get("x-missing-in-0x")}
    lists = ("AgentList", "SessionList", "SearchResult")
    assert marked >= {"Memory.id", "Error.code", "Error.request_id", *(f"{name}.has_more" for name in lists)}


def numbers(node: Any) -> Iterator[dict[str, Any]]:
    """Yield each schema of a number inside a node."""
    if isinstance(node, list):
        for item in node:
            yield from numbers(item)
    elif isinstance(node, dict):
        if {"integer", "number"} & set(one if isinstance(one := node.get("type"), list) else [one]):
            yield node
        for key, value in node.items():
            if key not in {"default", "enum", "const", "example", "examples"}:
                yield from numbers(value)


def test_every_number_that_may_exceed_32_bits_has_its_format() -> None:
    found = list(numbers(CONTRACT["components"]["schemas"]))
    assert len(found) > 20
    for node in found:
        if "integer" in node["type"]:
            assert node.get("format") in {"int32", "int64"} or node["maximum"] < 1 << 31, node
        elif "string" not in node["type"]:
            assert node.get("format") == "double", node


def test_the_description_of_error_codes_names_each_that_is_listed() -> None:
    code = SCHEMAS["Error"]["properties"]["code"]
    assert re.findall("`([a-z_]+)`", code["description"]) == code["x-extensible-enum"]


def test_every_example_of_an_error_has_a_listed_code() -> None:
    codes = {response["content"]["application/json"]["example"]["code"] for response in errors()}
    assert codes <= set(SCHEMAS["Error"]["properties"]["code"]["x-extensible-enum"])
    assert len(codes) > 10


def errors() -> list[dict[str, Any]]:
    responses: dict[str, dict[str, Any]] = CONTRACT["components"]["responses"]
    error = {"$ref": "#/components/schemas/Error"}
    contents = [response for response in responses.values() if "content" in response]
    return [response for response in contents if response["content"]["application/json"]["schema"] == error]


def test_offset_is_deprecated_and_nothing_else_is() -> None:
    deprecated = [
        name for name, node in CONTRACT["components"]["parameters"].items() if node.get("deprecated")
    ]
    assert deprecated == ["Offset"]
