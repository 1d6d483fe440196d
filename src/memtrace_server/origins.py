"""Which hosts and pages a server without keys is there for."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping

from memtrace_server import problems
from memtrace_server.problems import Detail


class Origins:
    """Lets requests pass that are for this machine, and from no page of another origin.

    Without keys, a page that a browser loads could otherwise call the server: its name may lead to 127.0.0.1
    (DNS rebinding), and for a POST without a body, browsers do not ask before they send it.

    Args:
        allowed: Origins whose pages may call the server, besides those of this machine; `*` for all.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(allowed)

    def check(self, headers: Mapping[str, str]) -> None:
        """Check where a request is for, and where it is from.

        Raises:
            Problem: 400.
        """
        origin = headers.get("origin")
        if origin is not None and not self._is_allowed(origin):
            message = "without keys, the server answers only to pages of this machine and of --cors-origin"
            raise problems.invalid([Detail("origin", "header", message)])
        if not _is_local(headers.get("host", "")):
            message = "without keys, the server answers only to localhost and to addresses of this machine"
            raise problems.invalid([Detail("host", "header", message)])

    def _is_allowed(self, origin: str) -> bool:
        return not self._allowed.isdisjoint({origin, "*"}) or _is_local(origin.partition("://")[2])


def _is_local(host: str) -> bool:
    """Return whether a host, with or without a port, is a name or an address of this machine."""
    name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
    name = name.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
