"""Write everything that is derived: generated/memtrace_api from openapi.yaml, the sync client from the async one.

Needs no network, and gives the same bytes each time. `--check` writes nothing and says what is out of date.
"""

from __future__ import annotations

import argparse
import filecmp
import importlib.metadata
import json
import keyword
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import unasync
import yaml

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "scripts" / "templates"
OPENAPI = ROOT / "openapi.yaml"
OUTPUT = ROOT / "generated" / "memtrace_api"

GENERATOR = "openapi-python-client"
GENERATOR_VERSION = "0.29.1"

# A model's attribute is called as in the contract. These names could not be, or would hide what annotations speak of.
RESERVED_NAMES = {"bool", "datetime", "dict", "float", "from_dict", "int", "list", "str", "to_dict"}


class RegenError(Exception):
    """Something that a person has to put right first."""


def main(arguments: list[str] | None = None) -> int:
    """Regenerate, or check; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--openapi", type=Path, default=OPENAPI, help="the contract (default: openapi.yaml)")
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help="where to (default: generated/memtrace_api)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if anything is out of date"
    )
    options = parser.parse_args(arguments)
    output: Path = options.output.resolve()
    try:
        stale = _check(options.openapi, output) if options.check else _write(options.openapi, output)
        # The sync client is derived from this tree alone, so a generation elsewhere leaves it as it is.
        if output == OUTPUT:
            stale += unasync.check() if options.check else unasync.write()
    except (RegenError, unasync.UnasyncError) as error:
        print(f"regen: {error}", file=sys.stderr)
        return 2
    for line in stale:
        print(f"out of date: {line}; run `make regen`", file=sys.stderr)
    return 1 if stale else 0


def generate(openapi: Path, package: Path) -> None:
    """Write the package made from a contract to a folder that does not exist yet."""
    _require_generator()
    contract = yaml.safe_load(openapi.read_bytes())
    _require_names(contract)
    _run_generator(openapi, package)
    _drop_empty_models(package / "models")
    (package / "openapi.json").write_text(_compact_json(contract), encoding="utf-8")
    (package / "py.typed").touch()
    _format(package)


def _write(openapi: Path, output: Path) -> list[str]:
    output.parent.mkdir(parents=True, exist_ok=True)
    # Beside the output, so that putting it into place is a rename; a failure before that leaves what was there.
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".regen-") as temporary:
        new, old = Path(temporary, output.name), Path(temporary, "old")
        generate(openapi, new)
        if output.exists():
            output.rename(old)
        new.rename(output)
    return []


def _check(openapi: Path, output: Path) -> list[str]:
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary, output.name)
        generate(openapi, fresh)
        return [f"{output / path}" for path in sorted(_differences(fresh, output))]


def _differences(fresh: Path, tree: Path) -> Iterator[Path]:
    names = {path.relative_to(root) for root in (fresh, tree) for path in root.rglob("*") if path.is_file()}
    for name in names:
        if "__pycache__" in name.parts:
            continue
        both = (fresh / name).is_file() and (tree / name).is_file()
        if not both or not filecmp.cmp(fresh / name, tree / name, shallow=False):
            yield name


def _require_generator() -> None:
    try:
        found = importlib.metadata.version(GENERATOR)
    except importlib.metadata.PackageNotFoundError:
        found = "not installed"
    if found != GENERATOR_VERSION:
        raise RegenError(
            f"{GENERATOR} must be {GENERATOR_VERSION}, and is {found}: run `{sys.executable} -m pip install -e '.[dev]'`"
        )


def _require_names(contract: Any) -> None:
    for name in sorted(set(_property_names(contract.get("components", {}).get("schemas", {})))):
        if (
            not name.isidentifier()
            or keyword.iskeyword(name)
            or name.startswith("_")
            or name in RESERVED_NAMES
        ):
            raise RegenError(f"a property cannot be called {name!r}: its model could have no such attribute")


def _property_names(schema: Any) -> Iterator[str]:
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


def _run_generator(openapi: Path, package: Path) -> None:
    command = [
        *(sys.executable, "-m", "openapi_python_client", "generate"),
        *("--path", str(openapi.resolve()), "--output-path", str(package)),
        *("--config", str(TEMPLATES / "generator.yaml"), "--custom-template-path", str(TEMPLATES)),
        *("--meta", "none", "--fail-on-warning", "--overwrite"),
    ]
    _run(command)


def _drop_empty_models(models: Path) -> None:
    """Drop the modules of free-form objects, which are dicts: their template gives nothing."""
    empty = [path for path in models.glob("*.py") if not path.read_text(encoding="utf-8").strip()]
    init = models / "__init__.py"
    imports = tuple(f"from .{path.stem} import " for path in empty)
    lines = init.read_text(encoding="utf-8").splitlines(keepends=True)
    init.write_text("".join(line for line in lines if not line.startswith(imports)), encoding="utf-8")
    for path in empty:
        path.unlink()


def _compact_json(contract: Any) -> str:
    return json.dumps(contract, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _format(package: Path) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    configured = ["--config", str(ROOT / "pyproject.toml"), "--no-cache", str(package)]
    # The templates import what any model may need: what this one does not is dropped here.
    _run([*ruff, "check", "--fix-only", "--select", "F401,I", *configured])
    _run([*ruff, "format", *configured])


def _run(command: list[str]) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(  # noqa: S603 - the commands are those above
        command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RegenError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
