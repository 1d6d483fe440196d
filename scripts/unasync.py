"""Derive src/memtrace/_sync, the blocking client, from src/memtrace/_async, which is written by hand.

Both are then the same by construction. Names are replaced where they are names (and in docstrings and
comments, where examples are); a statement whose first line says `# unasync: remove` is left out. `--check`
writes nothing and says what is out of date.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import derived
from derived import DerivationError

SOURCE = derived.ROOT / "src" / "memtrace" / "_async"
OUTPUT = derived.ROOT / "src" / "memtrace" / "_sync"

# Besides these, every AsyncX becomes X.
NAMES = {
    "_async": "_sync",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
    "aiter": "iter",
    "aiter_bytes": "iter_bytes",
    "aiter_raw": "iter_raw",
    "aiter_stream": "iter_stream",
    "anext": "next",
    "anyio": "time",
    "aread": "read",
    "asynccontextmanager": "contextmanager",
    "asyncio": "time",
    "handle_async_request": "handle_request",
    "AbstractAsyncContextManager": "AbstractContextManager",
    "AsyncByteStream": "SyncByteStream",
    "StopAsyncIteration": "StopIteration",
}
# All that `time` has of what these modules do.
SHARED_WITH_TIME = {"anyio": {"sleep"}, "asyncio": {"sleep"}}
KEYWORDS = {"async", "await"}
REMOVE = "# unasync: remove"


class Edit(NamedTuple):
    """A range of a source, by line (from 1) and column, and its replacement."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


def main(arguments: list[str] | None = None) -> int:
    """Derive or check, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit 1 if anything is out of date (default: write)",
    )
    options = parser.parse_args(arguments)
    try:
        stale = check() if options.check else write()
    except DerivationError as error:
        print(f"unasync: {error}", file=sys.stderr)
        return 2
    for path in stale:
        print(f"out of date: {path}; run `make regen`", file=sys.stderr)
    return 1 if stale else 0


def write() -> list[Path]:
    """Write the derived package, and return no paths, as nothing is out of date then."""
    if _modules():
        derived.put(OUTPUT, build)
    return []


def check() -> list[Path]:
    """Return the files that are out of date."""
    return derived.differences(OUTPUT, build) if _modules() else []


def build(folder: Path) -> None:
    """Derive every module of the package into a new folder."""
    for path in _modules():
        name = path.relative_to(SOURCE)
        module = folder / name
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text(
            derive(path.read_text(encoding="utf-8"), f"src/memtrace/_async/{name.as_posix()}"),
            encoding="utf-8",
        )
    derived.tidy(folder, rules="F401,I")


def derive(source: str, name: str) -> str:
    """Derive one module.

    Args:
        source: Its text.
        name: What it is called in the first line of the result, and in errors.

    Raises:
        DerivationError: If there is something in it that has no counterpart, or the result does not compile.
    """
    try:
        source = _without_removed(source)
        _refuse_in_f_strings(source)
        source = _edited(source, _edits(source))
        compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise DerivationError(f"{name}: {error}") from error
    return f"# Derived from {name} by scripts/unasync.py: edit that, then run `make regen`.\n{source}"


def _modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def _without_removed(source: str) -> str:
    tree = ast.parse(source)
    marked = {token.start[0] for token in _tokens(source) if token.string.endswith(REMOVE)}
    lines = source.splitlines(keepends=True)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.lineno in marked:
            marked.remove(node.lineno)
            decorators: list[ast.expr] = getattr(node, "decorator_list", [])
            first, last = min([node.lineno, *(d.lineno for d in decorators)]), node.end_lineno or node.lineno
            lines[first - 1 : last] = ["\n"] * (last - first + 1)
    if marked:
        raise ValueError(f"line {min(marked)}: `{REMOVE}` is not on the first line of a statement")
    return "".join(lines)


def _refuse_in_f_strings(source: str) -> None:
    """Refuse names to replace in f-strings: up to Python 3.11, an f-string is one token."""
    for string in ast.walk(ast.parse(source)):
        if isinstance(string, ast.JoinedStr):
            for node in ast.walk(string):
                name = getattr(node, "id", None) or getattr(node, "attr", None) or ""
                if isinstance(node, ast.Await) or _renamed(name) != name:
                    raise ValueError(f"line {string.lineno}: put {name or 'await'!r} outside of the f-string")


def _edits(source: str) -> Iterator[Edit]:
    tokens = list(_tokens(source))
    docstrings = set(_docstrings(source))
    for index, token in enumerate(tokens):
        following = tokens[index + 1 : index + 3]
        if token.type == tokenize.NAME and token.string in KEYWORDS:
            yield Edit(token.start, following[0].start, "")
        elif token.type == tokenize.NAME:
            _require_counterpart(token, [after.string for after in following])
            yield Edit(token.start, token.end, _renamed(token.string))
        elif token.type == tokenize.COMMENT or token.start in docstrings:
            yield Edit(token.start, token.end, _reworded(token.string))
        elif token.type == tokenize.STRING and re.fullmatch(r"[\"'](\w+\.)*Async\w+[\"']", token.string):
            # A name in __all__, or an annotation.
            yield Edit(token.start, token.end, re.sub(r"\bAsync(?=[A-Z])", "", token.string))


def _edited(source: str, edits: Iterator[Edit]) -> str:
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    text, position = "", 0
    for edit in edits:
        start, end = (starts[line - 1] + column for line, column in (edit.start, edit.end))
        text += source[position:start] + edit.text
        position = end
    return text + source[position:]


def _require_counterpart(token: tokenize.TokenInfo, following: list[str]) -> None:
    known = SHARED_WITH_TIME.get(token.string)
    if known is not None and following[0] == "." and following[1] not in known:
        raise ValueError(
            f"line {token.start[0]}: {token.string}.{following[1]} has no counterpart that blocks"
        )


def _renamed(name: str) -> str:
    return NAMES.get(name) or re.sub(r"^Async(?=[A-Z])", "", name)


def _reworded(text: str) -> str:
    text = re.sub(r"\bawait\s+|\basync\s+(?=(?:def|for|with)\b)", "", text)
    return re.sub(r"\w+", lambda word: word[0] if word[0] in SHARED_WITH_TIME else _renamed(word[0]), text)


def _docstrings(source: str) -> Iterator[tuple[int, int]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                yield first.value.lineno, first.value.col_offset


def _tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    return tokenize.generate_tokens(io.StringIO(source).readline)


if __name__ == "__main__":
    sys.exit(main())
