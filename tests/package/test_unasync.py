"""The blocking client is derived from the async one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import unasync
from derived import DerivationError

if TYPE_CHECKING:
    from pathlib import Path


def test_tree_equals_a_fresh_derivation() -> None:
    assert unasync.check() == []


ASYNC = '''
"""A client: ``async with AsyncMemtrace() as client: await client.aclose()``."""

import asyncio
from collections.abc import AsyncIterator

import httpx
from memtrace._async.sessions import AsyncSession

__all__ = ["AsyncMemtrace"]


class AsyncMemtrace:
    """Remembers.

    Example:
        >>> async with AsyncMemtrace("sqlite://") as client:
        ...     await client.remember("a", "b")
    """

    def __init__(self, http: "httpx.AsyncClient") -> None:
        self._http = http

    async def __aenter__(self) -> "AsyncMemtrace":
        return self

    async def aclose(self) -> None:
        await self._http.aclose()

    @property
    def close(  # unasync: remove
        self,
    ) -> None:
        raise NotImplementedError

    async def each(self) -> AsyncIterator[str]:
        async for page in self.pages():
            yield "await async AsyncMemtrace"
        names = [name async for name in self.names() if (await name.exists())]
        await asyncio.sleep(1)  # await it
        raise StopAsyncIteration(names, f"{page}")
'''
SYNC = '''# Derived from there by scripts/unasync.py: edit that, then run `make regen`.

"""A client: ``with Memtrace() as client: client.close()``."""

import time
from collections.abc import Iterator

import httpx
from memtrace._sync.sessions import Session

__all__ = ["Memtrace"]


class Memtrace:
    """Remembers.

    Example:
        >>> with Memtrace("sqlite://") as client:
        ...     client.remember("a", "b")
    """

    def __init__(self, http: "httpx.Client") -> None:
        self._http = http

    def __enter__(self) -> "Memtrace":
        return self

    def close(self) -> None:
        self._http.close()







    def each(self) -> Iterator[str]:
        for page in self.pages():
            yield "await async AsyncMemtrace"
        names = [name for name in self.names() if (name.exists())]
        time.sleep(1)  # it
        raise StopIteration(names, f"{page}")
'''


def test_blocking_module_is_derived_from_an_async_one() -> None:
    assert unasync.derive(ASYNC, "there") == SYNC


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("async def f():\n    return f'{await g()}'\n", "line 2: put 'await' outside of the f-string"),
        ("def f(c):\n    return f'{c.aclose}'\n", "line 2: put 'aclose' outside of the f-string"),
        ("import asyncio\nlock = asyncio.Lock()\n", "line 2: asyncio.Lock has no counterpart"),
        ("x = 1\n# unasync: remove\n", "line 2: `# unasync: remove` is not on the first line"),
        ("def f():\n    return 1  # unasync: remove\n", "expected an indented block"),
        ("def f(:\n", "invalid syntax"),
    ],
)
def test_code_without_a_blocking_counterpart_is_an_error(source: str, said: str) -> None:
    with pytest.raises(DerivationError, match="there: ") as raised:
        unasync.derive(source, "there")
    assert said in str(raised.value)


def modules(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))


def test_a_derived_package_has_each_module_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = tmp_path / "_async", tmp_path / "_sync"
    monkeypatch.setattr(unasync, "SOURCE", source)
    monkeypatch.setattr(unasync, "OUTPUT", output)
    assert (unasync.main([]), unasync.main(["--check"])) == (0, 0)
    assert not output.exists()
    (source / "deep").mkdir(parents=True)
    (source / "__init__.py").write_text(
        "import httpx\nimport asyncio\nawaited=asyncio.sleep,httpx\n", "utf-8"
    )
    (source / "deep" / "x.py").write_text("async def f(): pass\n", "utf-8")
    assert unasync.main(["--check"]) == 1
    assert unasync.main([]) == 0
    assert modules(output) == ["__init__.py", "deep/x.py"]
    assert (
        (output / "__init__.py")
        .read_text("utf-8")
        .endswith("\nimport time\n\nimport httpx\n\nawaited = time.sleep, httpx\n")
    )
    (source / "deep" / "x.py").unlink()
    assert unasync.main(["--check"]) == 1
    assert unasync.main([]) == 0
    assert modules(output) == ["__init__.py"]
