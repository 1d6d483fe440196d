"""What a server says when it starts: where it is, where it stores, and how to get a key."""

from __future__ import annotations

import logging
import sys

from attrs import define, field

from memtrace import __version__
from memtrace_server.store_url import StoreUrl

_LOG = logging.getLogger("memtrace_server.start")


@define
class Greeting:
    """The facts of a start, and how to print them.

    Attributes:
        url: Where the server listens.
        store: The URL of its store.
        as_text: Whether to print lines for people, instead of one line of JSON.
        auth: Whether a key is needed.
        first_key: The key that was made, as the store had none.
        keys: The number of keys that are not revoked.
    """

    url: str
    store: str = field(repr=False)
    as_text: bool
    auth: bool
    first_key: str | None = field(default=None, repr=False)
    keys: int = 0

    def note_keys(self, first_key: str | None, keys: int) -> None:
        """Record the first key, if one was made, and the number of keys."""
        self.first_key = first_key
        self.keys = keys

    def tell(self) -> None:
        """Print the facts to standard error, and the first key to standard output: it belongs in no log."""
        hint = self._hint()
        if self.as_text:
            pages = {"Page": f"{self.url}/ui", "Docs": f"{self.url}/docs"}
            lines = {**pages, "Store": _shown(self.store), "Keys": hint}
            text = "".join(f"  {name:<6} {value}\n" for name, value in lines.items())
            print(
                f"Memtrace {__version__}\nMemtrace serves on {self.url}\n{text}", file=sys.stderr, flush=True
            )
        else:
            facts = {"version": __version__, "url": self.url, "store": _shown(self.store), "keys": self.keys}
            _LOG.setLevel(logging.INFO)  # whatever the level of others: starting once is no noise
            _LOG.info("Memtrace serves on %s; %s", self.url, hint, extra={"request": facts})
        if self.first_key:
            try:
                print(f"API key of org_default, shown only now: {self.first_key}", flush=True)
            except OSError as error:
                _LOG.error(
                    "standard output: %s; the first API key is lost: %s", error.strerror, self._command()
                )

    def _command(self) -> str:
        return f"memtrace key create --role admin --store {StoreUrl.parse(self.store)}"

    def _hint(self) -> str:
        create = self._command()
        if not self.auth:
            return "no API key is needed (--no-auth): everybody is an admin of org_default"
        if self.first_key:
            return f"the first API key is shown once, on standard output; when it is lost: {create}"
        keys = "1 API key is" if self.keys == 1 else f"{self.keys} API keys are"
        return f"{keys} in use; one that is lost cannot be shown again, but replaced: {create}"


def _shown(store: str) -> str:
    location = StoreUrl.parse(store)
    if location.dsn is not None:
        return str(location)
    return location.path or "in memory, gone when the server ends"
