"""The `memtrace` command: serve, and make and revoke organisations and keys."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from memtrace._version import __version__
from memtrace_server import tenants, times
from memtrace_server.store import Store, open_store
from memtrace_server.store.protocol import StoreUnavailable

_DEFAULT_STORE = "sqlite:///memtrace.db"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exits with 1 and a line on standard error when it fails, 2 when it is misspelt."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError, StoreUnavailable) as error:
        sys.exit(f"memtrace: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="memtrace", description="Memory for AI agents.")
    parser.add_argument("--version", action="version", version=f"memtrace {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = _command(commands, "serve", "run a server", _serve)
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serve.add_argument(
        "--port", type=_port, default=9100, help="port to listen on, 0 for any free one (%(default)s)"
    )
    serve.add_argument("--workers", type=_positive, default=1, help="processes that serve (%(default)s)")
    serve.add_argument(
        "--bootstrap-key",
        metavar="KEY",
        help="an admin's key of org_default to make sure of: mtk_ and 32 or more letters or digits (or set"
        " MEMTRACE_BOOTSTRAP_KEY, which other users of the machine cannot see)",
    )
    serve.add_argument(
        "--no-auth", action="store_true", help="ask for no key: everybody is org_default's admin"
    )
    serve.add_argument(
        "--rate-limit",
        type=_positive,
        metavar="N",
        help="requests a second with one key, in each worker; more are answered with 429 (no limit)",
    )
    serve.add_argument(
        "--max-connections",
        type=_positive,
        default=1_000,
        metavar="N",
        help="connections at once, in each worker; more are answered with 503 (%(default)s)",
    )
    serve.add_argument(
        "--client-timeout",
        type=_positive,
        default=30,
        metavar="SECONDS",
        help="for a client to send a request, and for requests to end after SIGTERM (%(default)s)",
    )
    serve.add_argument(
        "--metrics",
        action="store_true",
        help="tell at /metrics, in Prometheus's format and without a key, how many requests were answered",
    )
    serve.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])

    _command(commands, "check", "find out whether the store is whole", _check)
    _command(
        commands,
        "vacuum",
        "write the store anew, so that its file keeps no trace of what was forgotten; writes wait",
        _vacuum,
    )
    backup = _command(commands, "backup", "copy the store to a new file, while it is served", _backup)
    backup.add_argument("file", help="the new file")

    org = commands.add_parser("org", help="organisations (tenants)").add_subparsers(
        required=True, metavar="COMMAND"
    )
    _command(org, "create", "make an organisation; prints its id", _create_org).add_argument("name")
    _command(org, "list", "list organisations", _list_orgs)

    key = commands.add_parser("key", help="API keys").add_subparsers(required=True, metavar="COMMAND")
    create = _command(key, "create", "make a key; prints it, this once", _create_key)
    create.add_argument("--org", default="org_default", help="id or name of the organisation (%(default)s)")
    create.add_argument(
        "--role", default="writer", choices=["reader", "writer", "admin"], help="(%(default)s)"
    )
    create.add_argument("--name", default="", help="what the key is for, in your own words")
    _command(key, "list", "list keys, without their text", _list_keys)
    _command(key, "revoke", "revoke a key at once", _revoke_key).add_argument(
        "id", help="the key's id: key_…"
    )
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, run: object
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument(
        "--store",
        default=os.environ.get("MEMTRACE_STORE", _DEFAULT_STORE),
        metavar="URL",
        help=f"where memories live (MEMTRACE_STORE, else {_DEFAULT_STORE})",
    )
    parser.set_defaults(run=run)
    return parser


def _serve(options: argparse.Namespace) -> None:
    try:
        from memtrace_server.serving import Options, serve  # noqa: PLC0415 - what it needs comes with an extra
    except ImportError as error:
        if not error.name or error.name.startswith("memtrace"):
            raise
        raise ValueError(f"{error.name} is not installed; run: pip install 'memtrace-sdk[server]'") from error
    serve(
        Options(
            host=options.host,
            port=options.port,
            store_url=options.store,
            workers=options.workers,
            bootstrap_key=options.bootstrap_key or os.environ.get("MEMTRACE_BOOTSTRAP_KEY"),
            auth=not options.no_auth,
            log_level=options.log_level,
            rate_limit=options.rate_limit,
            max_connections=options.max_connections,
            client_timeout=options.client_timeout,
            metrics=options.metrics,
        )
    )


def _check(options: argparse.Namespace) -> None:
    with _store(options) as store:
        wrong = list(store.check())
    for line in wrong:
        print(line)
    if wrong:
        raise ValueError(f"the store is not whole: {len(wrong)} things are wrong")
    print("The store is whole.")


def _vacuum(options: argparse.Namespace) -> None:
    with _store(options) as store:
        store.vacuum()


def _backup(options: argparse.Namespace) -> None:
    with _store(options) as store:
        store.backup(options.file)


def _create_org(options: argparse.Namespace) -> None:
    with _store(options) as store:
        print(tenants.create_org(store, options.name).id)


def _list_orgs(options: argparse.Namespace) -> None:
    with _store(options) as store:
        for org in tenants.list_orgs(store):
            print(org.id, org.name, sep="\t")


def _create_key(options: argparse.Namespace) -> None:
    with _store(options) as store:
        print(tenants.create_key(store, options.org, options.role, options.name))


def _list_keys(options: argparse.Namespace) -> None:
    with _store(options) as store:
        for key in tenants.list_keys(store):
            state = "active" if key.revoked_at is None else f"revoked {times.render(key.revoked_at)}"
            print(key.id, key.org_id, key.role, state, key.name, sep="\t")


def _revoke_key(options: argparse.Namespace) -> None:
    with _store(options) as store:
        tenants.revoke_key(store, options.id)


@contextmanager
def _store(options: argparse.Namespace) -> Iterator[Store]:
    with closing(open_store(options.store)) as store:
        yield store


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:  # noqa: PLR2004 - the last port
        raise argparse.ArgumentTypeError("give a whole number from 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("give a whole number from 1")
    return int(text)
