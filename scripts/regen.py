"""Write what is derived: generated/memtrace_api from openapi.yaml, and the sync client from the async one.

Needs no network, and gives the same bytes each time. `--check` writes nothing and says what is out of date.
"""

import argparse
import contextlib
import importlib.metadata
import io
import json
import keyword
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import derived
import unasync
import yaml
from derived import DerivationError

TEMPLATES = derived.ROOT / "scripts" / "templates"
OPENAPI = derived.ROOT / "openapi.yaml"
OUTPUT = derived.ROOT / "generated" / "memtrace_api"

GENERATOR = "openapi-python-client"
GENERATOR_VERSION = "0.29.1"
_REQUIREMENT = f"{GENERATOR}=={GENERATOR_VERSION}"

# A model's attribute is called as in the contract. These names could not be: they would hide what annotations
# speak of, or a method.
RESERVED_NAMES = {"bool", "datetime", "dict", "float", "from_dict", "int", "list", "str", "to_dict"}
_LIMITS = {
    "minimum": "MINIMUM",
    "maximum": "MAXIMUM",
    "default": "DEFAULT",
    "maxItems": "MAX_ITEMS",
    "maxLength": "MAX_LENGTH",
}


def main(arguments: list[str] | None = None) -> int:
    """Regenerate or check, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--openapi", type=Path, default=OPENAPI, help="read this contract (default: openapi.yaml)"
    )
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help="write this folder (default: generated/memtrace_api)"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit 1 if anything is out of date (default: write)",
    )
    options = parser.parse_args(arguments)
    output: Path = options.output.resolve()
    build = partial(generate, options.openapi)
    try:
        stale = derived.differences(output, build) if options.check else []
        if not options.check:
            derived.put(output, build)
        # The sync client is derived from this tree alone, so a generation elsewhere leaves it as it is.
        if output == OUTPUT:
            stale += unasync.check() if options.check else unasync.write()
    except DerivationError as error:
        print(f"regen: {error}", file=sys.stderr)
        return 2
    for path in stale:
        print(f"out of date: {path}; run `make regen`", file=sys.stderr)
    return 1 if stale else 0


def generate(openapi: Path, package: Path) -> None:
    """Write the package that is generated from a contract to a new folder."""
    _require_generator()
    try:
        contract = yaml.load(openapi.read_bytes(), yaml.CSafeLoader)
    except (OSError, yaml.YAMLError) as error:
        raise DerivationError(f"{openapi}: {error}") from error
    _require_names(contract)
    try:
        parsed = _prepared(_relaxed(contract))
    except (KeyError, TypeError) as error:
        raise DerivationError(f"{openapi}: not the contract of a Memtrace server: {error!r}") from error
    time_points = {
        parameter["name"]
        for parameter in _parameters(contract)
        if parameter["schema"].get("$ref") == "#/components/schemas/TimePoint"
    }
    _run_generator(openapi, parsed, package, time_points)
    _drop_empty_models(package / "models")
    (package / "error_codes.py").write_text(_error_codes(contract), encoding="utf-8")
    (package / "limits.py").write_text(_limits(contract), encoding="utf-8")
    (package / "openapi.json").write_text(_compact_json(contract), encoding="utf-8")
    (package / "py.typed").touch()
    # The templates import what any model may need (F401: what this one does not), in no order (I).
    derived.tidy(package, rules="F401,I")


def _require_generator() -> None:
    try:
        found = importlib.metadata.version(GENERATOR)
    except importlib.metadata.PackageNotFoundError:
        found = "not installed"
    if found != GENERATOR_VERSION:
        raise DerivationError(
            f"{GENERATOR} must be {GENERATOR_VERSION}, and is {found}: "
            f"run `{sys.executable} -m pip install --no-deps {_REQUIREMENT}`"
        )


def _require_names(contract: object) -> None:
    for name in sorted(set(_property_names(contract))):
        if (
            not name.isidentifier()
            or keyword.iskeyword(name)
            or name.startswith("_")
            or name in RESERVED_NAMES
        ):
            raise DerivationError(
                f"a property cannot be called {name!r}: its model could have no such attribute"
            )


def _property_names(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for key, value in schema.items():
            if key not in {"default", "enum", "const", "example", "examples"}:
                yield from _property_names(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _property_names(item)


def _relaxed(schema: object) -> Any:  # noqa: ANN401 - YAML
    """Return the contract for the Python models, which also read responses of a Memtrace 0.x server.

    A property that has `x-missing-in-0x` may be missing or null in them. The contract itself promises it.
    """
    if isinstance(schema, list):
        return [_relaxed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    relaxed = {key: _relaxed(value) for key, value in schema.items()}
    properties = schema.get("properties")
    if isinstance(properties, dict):
        missing = {name for name, node in properties.items() if _is_missing_in_0x(node)}
        relaxed["required"] = [name for name in schema.get("required", ()) if name not in missing]
        for name in missing:
            node = relaxed["properties"][name]
            node["type"] = [node["type"], "null"]
            node["description"] = f"{node['description'].rstrip()} Memtrace 0.x sends none."
    return relaxed


def _is_missing_in_0x(node: object) -> bool:
    return isinstance(node, dict) and bool(node.get("x-missing-in-0x"))


def _prepared(contract: dict[str, Any]) -> dict[str, Any]:
    """Prepare a copy of a contract for the generator, which supports less.

    A parameter's own description goes into its schema, where the generator looks for it. The parameters of
    `listMemories` become one more schema, `ListOptions`.
    """
    schemas, parameters = contract["components"]["schemas"], contract["components"]["parameters"]
    memories = contract["paths"]["/api/v1/memories"]
    schemas["ListOptions"] = {
        "type": "object",
        "additionalProperties": False,
        "description": "Which memories to list; each filter given must match.",
        "properties": {
            parameter["name"]: _optional_property(parameter)
            for parameter in _resolved(memories["get"]["parameters"], parameters)
        },
    }
    for parameter in _parameters(contract):
        schema = parameter["schema"]
        named = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}
        # What becomes a class keeps its name.
        if not named.keys() & {"enum", "properties"}:
            parameter["schema"] = {**named, **schema, "description": parameter["description"]}
            parameter["schema"].pop("$ref", None)
    return contract


def _parameters(contract: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from contract["components"]["parameters"].values()
    for path in contract["paths"].values():
        for given in (path, *(value for value in path.values() if isinstance(value, dict))):
            yield from (parameter for parameter in given.get("parameters", ()) if "schema" in parameter)


def _resolved(given: list[dict[str, Any]], parameters: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for parameter in given:
        yield parameters[parameter["$ref"].rpartition("/")[2]] if "$ref" in parameter else parameter


def _optional_property(parameter: dict[str, Any]) -> dict[str, Any]:
    schema = dict(parameter["schema"])
    default = {"default": schema.pop("default")} if "default" in schema else {}
    # A list in one parameter can be given as it is sent, too: separated by commas.
    joined = [{"type": "string"}] if parameter.get("explode") is False else []
    choices = [schema, *joined, {"type": "null"}]
    return {"anyOf": choices, "description": parameter["description"], **default}


def _run_generator(openapi: Path, contract: dict[str, Any], package: Path, time_points: set[str]) -> None:
    """Run the generator, and render three modules more with what it has parsed.

    Args:
        openapi: The contract's file.
        contract: What the generator is to parse.
        package: Where the package goes.
        time_points: Names of parameters that are points in time.
    """
    # Here, after its version was checked.
    from openapi_python_client import Project  # noqa: PLC0415
    from openapi_python_client.config import Config, ConfigFile, MetaType  # noqa: PLC0415
    from openapi_python_client.parser import GeneratorData  # noqa: PLC0415
    from openapi_python_client.parser.errors import GeneratorError  # noqa: PLC0415

    settings = ConfigFile.load_from_path(TEMPLATES / "generator.yaml")
    config = Config.from_sources(
        settings, MetaType.NONE, openapi, "utf-8", overwrite=True, output_path=package.resolve()
    )
    parsed = GeneratorData.from_dict(contract, config=config)
    if isinstance(parsed, GeneratorError):
        raise DerivationError(f"{openapi}: {parsed.header}: {parsed.detail}")
    project = Project(openapi=parsed, config=config, custom_template_path=TEMPLATES)
    with contextlib.redirect_stdout(io.StringIO()):
        errors = project.build()
    if errors:
        raise DerivationError("\n".join(f"{openapi}: {error.header}: {error.detail}" for error in errors))
    project.env.globals["time_points"] = time_points
    for name in ("fields", "methods", "requests"):
        text = project.env.get_template(f"{name}.py.jinja").render()
        (package / f"{name}.py").write_text(text, encoding="utf-8")


def _drop_empty_models(models: Path) -> None:
    """Drop the modules of free-form objects, which are dicts and have none; list the names of the others."""
    empty = [path for path in models.glob("*.py") if not path.read_text(encoding="utf-8").strip()]
    init = models / "__init__.py"
    imports = tuple(f"from .{path.stem} import " for path in empty)
    lines = init.read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith(imports))
    names = re.findall(r" as (\w+)$", text, re.MULTILINE)
    init.write_text(f"{text}\n__all__ = {names}\n", encoding="utf-8")
    for path in empty:
        path.unlink()


def _error_codes(contract: Any) -> str:  # noqa: ANN401 - YAML
    """Return a module with the type of the codes that `Error.code` lists."""
    codes: list[str] = contract["components"]["schemas"]["Error"]["properties"]["code"]["x-extensible-enum"]
    module = '"""The error codes of the contract."""\n\nfrom typing import Literal\n\n'
    return f"{module}ErrorCode = Literal{codes}\n"


def _limits(contract: Any) -> str:  # noqa: ANN401 - YAML
    """Return a module with the limits and defaults of fields in request bodies."""
    lines = ['"""The limits and defaults of integers, texts and lists in request bodies, by field."""\n\n']
    for name, schema in contract["components"]["schemas"].items():
        if schema.get("additionalProperties") is not False:
            continue  # of a response, which may have anything
        for field, node in schema.get("properties", {}).items():
            if "integer" in node.get("type", ()) or node.keys() & {"maxItems", "maxLength"}:
                constant = re.sub(r"(?<!^)(?=[A-Z])", "_", f"{name}_").upper() + field.upper()
                lines += [
                    f"{constant}_{end} = {node[key]!r}\n" for key, end in _LIMITS.items() if key in node
                ]
    return "".join(lines)


def _compact_json(contract: object) -> str:
    return json.dumps(contract, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    sys.exit(main())
