from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


def test_demo_shows_each_step_and_the_recalled_memories(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo.py"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )

    steps = done.stdout.splitlines()
    assert 'client.remember("agent_1", "User prefers dark mode")' in steps
    assert 'client.decide("agent_1", "Use PostgreSQL", "Better JSON support for metadata")' in steps
    assert len(re.findall(r"→ stored as mem_\w{26}", done.stdout)) == 2
    assert steps.count("    → recalled 1: User prefers dark mode") == 2
    assert re.search(r"→ \[20\d\d-.*\] User prefers dark mode", done.stdout)
    assert "    → found 3: Anna lives at Hafenweg 3, Hamburg; " in done.stdout
    tokens = re.search(r"→ \d+ memories in (\d+) tokens, \d+ left out", done.stdout)
    assert tokens
    assert 200 < int(tokens[1]) <= 300
    assert re.search(r"Another process sees the same\n.*\n    → .*Anna lives at Hafenweg 3", done.stdout)
    assert re.search(r"The page: http://127\.0\.0\.1:\d+/ui#key=mtk_", steps[-4])
    assert list(tmp_path.iterdir()) == []


def test_demo_stays_until_it_is_interrupted_and_shows_its_page(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "demo.py", "--stay"],
        cwd=tmp_path, stdout=subprocess.PIPE, encoding="utf-8", start_new_session=True,
    ) as demo:  # fmt: skip
        try:
            assert demo.stdout
            printed = ""
            for line in demo.stdout:
                printed += line
                if line.startswith("Ctrl-C"):
                    break
            page, key = re.findall(r"The page: (\S+)#key=(\S+)", printed)[0]
            assert httpx.get(page).status_code == 200
            api = page.removesuffix("ui") + "api/v1/agents"
            assert httpx.get(api, headers={"x-api-key": key}).json()["count"] == 2
            assert "memtrace ui sqlite:///" in printed
            os.killpg(demo.pid, signal.SIGINT)  # like a terminal
            assert demo.wait(60) == 0
        finally:
            if demo.poll() is None:  # otherwise the test would wait for it
                os.killpg(demo.pid, signal.SIGKILL)


def test_pip_is_not_silenced() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    commands = re.findall(r"pip install.*'\.\[(?:server|dev)\]'.*", makefile)
    assert len(commands) == 2
    assert not [command for command in commands if re.search(r"--quiet|-q\b|>|\|", command)]
