"""Run a server."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Literal

import typer

from memtrace.cli._opened import DEFAULT_STORE, StoreOption, unavailability

_EVERY = "*"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\sA-Z]+")  # as browsers send it


def serve(  # noqa: PLR0913 - an option each
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65_535, metavar="N", help="The port to listen on; 0 for any free one."),
    ] = 9100,
    store: StoreOption = DEFAULT_STORE,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="The number of server processes.")] = 1,
    bootstrap_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="MEMTRACE_BOOTSTRAP_KEY",
            help="Create this admin's key of org_default if it does not exist: mtk_ and 32 or more letters or"
            " digits. Other users of the machine can see an option, but not the variable.",
            show_default="none",
        ),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Require no key: everybody is an admin of org_default.")
    ] = False,
    insecure_no_auth_on_network: Annotated[
        bool,
        typer.Option(
            "--insecure-no-auth-on-network",
            help="Listen on any address with --no-auth, and accept any host name: everybody who reaches the"
            " server can read, change and delete everything.",
        ),
    ] = False,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Let pages of this origin (https://app.example.com) call the server from a browser; may be"
            " repeated.",
            show_default="none",
        ),
    ] = None,
    forwarded_allow_ips: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESSES",
            help="Take a client's address from the X-Forwarded-For header if the request comes from one of"
            " these addresses or networks of proxies, comma-separated.",
            show_default="none",
        ),
    ] = None,
    auth_failure_limit: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Failed authentications per minute from one address, in each worker; further ones get 429. 0"
            " for no limit.",
        ),
    ] = 120,
    rate_limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Requests per second with one key, in each worker; further ones get 429.",
            show_default="no limit",
        ),
    ] = None,
    max_connections: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Simultaneous connections in each worker; further ones get 503."
        ),
    ] = 1_000,
    client_timeout: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="SECONDS",
            help="Time limit for a client in each state of a connection, such as sending a head, sending a"
            " body or reading a response; and for requests to end after SIGTERM.",
        ),
    ] = 30,
    request_timeout: Annotated[
        int,
        typer.Option(min=1, metavar="SECONDS", help="Time limit for the response to a request."),
    ] = 30,
    metrics: Annotated[
        bool,
        typer.Option(
            "--metrics", help="Serve request counts at /metrics, in Prometheus's format and without a key."
        ),
    ] = False,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(help="The least severe lines to log.")
    ] = "info",
    log_format: Annotated[
        Literal["auto", "text", "json"],
        typer.Option(help="The log format; auto is text on a terminal, otherwise one JSON object per line."),
    ] = "auto",
) -> None:
    """Run a server."""
    from memtrace_server import serving

    _check_origins(cors_origin or [])
    _check_proxies(forwarded_allow_ips)
    options = serving.Options(
        host=host,
        port=port,
        store_url=store,
        workers=workers,
        bootstrap_key=bootstrap_key,
        auth=not no_auth,
        no_auth_on_network=insecure_no_auth_on_network,
        cors_origins=cors_origin or [],
        forwarded_allow_ips=forwarded_allow_ips,
        log_level=log_level,
        log_format=log_format,
        rate_limit=rate_limit,
        auth_failure_limit=auth_failure_limit or None,
        max_connections=max_connections,
        client_timeout=client_timeout,
        request_timeout=request_timeout,
        metrics=metrics,
    )
    with unavailability():
        serving.serve(options)


def _check_origins(origins: list[str]) -> None:
    """Refuse origins that no browser sends, as they would have no effect."""
    for origin in origins:
        if origin != _EVERY and not _ORIGIN.fullmatch(origin):
            raise typer.BadParameter(
                f"{origin!r} is not an origin; give a scheme and a host in lower case, without a path:"
                " https://app.example.com",
                param_hint="--cors-origin",
            )


def _check_proxies(addresses: str | None) -> None:
    """Refuse invalid addresses: uvicorn would take them for names of sockets, and trust no proxy."""
    if addresses is None or addresses == _EVERY:
        return
    for address in addresses.split(","):
        try:
            ip_network(address.strip())
        except ValueError as error:
            raise typer.BadParameter(
                f"{error}; give addresses or networks: 127.0.0.1,10.0.0.0/8",
                param_hint="--forwarded-allow-ips",
            ) from error
