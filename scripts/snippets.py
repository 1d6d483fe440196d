"""The Python code in markdown documents, run as a reader would run it."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_BLOCK = re.compile(
    r"^```(?P<language>.*)\n(?P<code>(?s:.*?))^```\n(?:\n```\n(?P<shown>(?s:.*?))^```$)?|^(?P<heading>#.*)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Snippet:
    """A block of Python code in a document.

    Attributes:
        path: The document.
        heading: The heading that it stands under.
        line: The line of the document that its code begins in.
        code: The code itself.
        shown: What the document says that it prints, in a block that follows; None if it says nothing.
    """

    path: Path
    heading: str
    line: int
    code: str
    shown: str | None = None

    def steps(self) -> Iterator[Snippet]:
        """Return the statements of the block, each with the comments before it."""
        lines = self.code.splitlines(keepends=True)
        start = 0
        for statement in ast.parse(self.code).body:
            end = statement.end_lineno or start
            yield Snippet(self.path, self.heading, self.line + start, "".join(lines[start:end]))
            start = end

    def run(self, names: dict[str, Any]) -> object:
        """Run the code; it may use `await` as if it stood in a coroutine.

        Args:
            names: The names that it finds, and leaves behind.

        Returns:
            Its value, if it is a single expression.
        """
        tree = ast.parse(self.code, self.path.name)
        # A traceback then names the line of the document.
        ast.increment_lineno(tree, self.line - 1)
        await_anywhere = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        match tree.body:
            case [ast.Expr(value)]:
                code = compile(ast.Expression(value), self.path.name, "eval", await_anywhere)
            case _:
                code = compile(tree, self.path.name, "exec", await_anywhere)
        result = eval(code, names)  # noqa: S307 - our own documents are as trusted as our own code
        return asyncio.run(result) if inspect.iscoroutine(result) else result


def without_times(text: str) -> str:
    """Return shown or printed output without the days and times of a context."""
    text = re.sub(r"^## \w+day 20\d\d-\d\d-\d\d$", "## DAY", text, flags=re.MULTILINE)
    return re.sub(r"^\d\d:\d\d ", "", text, flags=re.MULTILINE).strip()


def snippets(path: Path) -> list[Snippet]:
    """Return every block of Python code in a document, in order."""
    found: list[Snippet] = []
    heading = ""
    text = path.read_text("utf-8")
    for match in _BLOCK.finditer(text):
        if match["heading"]:
            heading = match["heading"].strip("# \n")
        elif match["language"] == "python":
            line = text.count("\n", 0, match.start("code")) + 1
            found.append(Snippet(path, heading, line, match["code"], match["shown"]))
    return found
