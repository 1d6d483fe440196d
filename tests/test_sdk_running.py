"""Where code runs: whose connections it may use."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
import trio

from memtrace import _running


async def here() -> object:
    return _running.loop()


def test_the_loop_is_the_one_that_runs() -> None:
    with asyncio.Runner() as runner:
        assert runner.run(here()) is runner.get_loop()


def test_there_is_none_outside_and_none_on_trio() -> None:
    assert _running.loop() is None
    assert trio.run(here) is None


def test_a_program_that_knows_no_asyncio_has_none_and_gets_none() -> None:
    code = "import sys; from memtrace import _running; print(_running.loop(), 'asyncio' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert printed == "None False\n"


def test_a_place_is_over_when_its_loop_is_closed() -> None:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        assert _running.is_over((1, loop)) is False
    assert _running.is_over((1, loop)) is True


@pytest.mark.parametrize("loop", [None, object()])
def test_a_place_without_a_loop_of_asyncio_is_never_over(loop: object) -> None:
    assert _running.is_over((1, loop)) is False
