"""Fuzz a live server against the contract: a new one, or the one of a URL and a key."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
from live import LiveServer

from memtrace import AddMemoryRequest, ConflictError, Memtrace

ROOT = Path(__file__).parent.parent
REPORT = ROOT / "build" / "fuzz" / "junit.xml"
# Ids in the contract's examples, so that they find records.
AGENT = "support-bot"
SESSION = "sess_01JD5P8E6W3M9V2QXA7RKB4TNC"


def main() -> int:
    """Run the fuzzer; return 0 if neither it nor the server reports a fault."""
    options = parse_arguments()
    if options.url:
        return fuzz(options.url, [key for key in (options.key, options.peer_key) if key], options)
    # On a fast machine, the fuzzer sends more wrong keys per minute than the default limit.
    arguments = ("--metrics", "--auth-failure-limit", "0")
    with tempfile.TemporaryDirectory() as folder, LiveServer(Path(folder), *arguments) as server:
        keys = [server.create_tenant("alice"), server.create_tenant("bob")]
        failed = fuzz(server.url, keys, options)
        httpx.get(f"{server.url}/ready").raise_for_status()
    complaints = [line for line in server.log if re.search(r'"status":5\d\d|"level":"error"|Traceback', line)]
    print(f"The server ended with {server.returncode} and logged {len(complaints)} failures:", *complaints)
    return int(bool(failed or complaints or server.returncode))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--examples",
        type=int,
        metavar="N",
        default=25,
        help="try up to N examples for each operation and phase (default: 25)",
    )
    parser.add_argument("--seed", type=int, help="use this seed (default: that of schemathesis.toml)")
    parser.add_argument("--url", help="fuzz this server (default: a new one)")
    parser.add_argument("--key", help="use this admin's key for --url (default: none)")
    parser.add_argument("--peer-key", help="look for leaks between --key and this key (default: none)")
    return parser.parse_args()


def fuzz(url: str, keys: list[str], options: argparse.Namespace) -> int:
    """Run schemathesis with the first key, which must see no data of the others."""
    users = dict(zip(("alice", "bob"), keys, strict=False))
    for user, key in users.items():
        seed(url, key, user)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        config = configure(Path(folder), users)
        command = [str(Path(sys.executable).with_name("st")), "--config-file", str(config)]
        command += ["run", str(ROOT / "openapi.yaml"), "--url", url, "--max-examples", str(options.examples)]
        command += ["--report", "junit", "--report-junit-path", str(REPORT)]
        if options.seed is not None:
            command += ["--seed", str(options.seed)]
        # Its cache stays in the folder too: each run starts from nothing.
        return subprocess.run(command, cwd=folder, check=False).returncode


def configure(folder: Path, users: dict[str, str]) -> Path:
    """Complete schemathesis.toml with the users of this run, whose data should reach every operation."""
    headers = {user: [{"name": "x-api-key", "value": key}] for user, key in users.items()}
    document = {"auth": [{"name": user, "fixedHeaders": fixed} for user, fixed in headers.items()]}
    (folder / "users.json").write_text(json.dumps(document), "utf-8")
    lines = ["[warnings]", "fail-on = true", "[auth.wfc]"]
    lines += [f"path = {json.dumps(str(folder / 'users.json'))}", f"user = {json.dumps(next(iter(users)))}"]
    if len(users) > 1:
        lines.append(f"peers = {json.dumps([*users])}")
    else:
        print("Only one key is given, so leaks between organisations are not checked.")
    config = folder / "schemathesis.toml"
    config.write_text("\n".join([(ROOT / "schemathesis.toml").read_text("utf-8"), *lines, ""]), "utf-8")
    return config


def seed(url: str, key: str, user: str) -> None:
    """Store records for a tenant, as a server without data hides faults."""
    with Memtrace(url, key) as client:
        try:
            client.register_agent(name=AGENT, description=f"Works for {user}", config={"owner": user})
        except ConflictError:
            print(f"{user} was seeded before.")
        session = client.create_session(agent_id=AGENT, metadata={"owner": user})
        client.add_memories(
            [
                AddMemoryRequest(
                    agent_id=agent_id,
                    session_id=session_id,
                    memory_type=memory_type,
                    event_type=event_type,
                    content=f"{user}: {event_type} of a {memory_type}, dark mode",
                    tags=["ui", "preference"],
                    importance=0.7,
                    metadata={"ticket": 4711, "owner": user},
                )
                for agent_id in (AGENT, f"{user}-bot")
                for session_id in (SESSION, session.id)
                for memory_type in ("episodic", "session", "decision", "entity")
                for event_type in ("observation", "error", "action", "decision")
            ]
        )


if __name__ == "__main__":
    sys.exit(main())
