"""Organisations and their keys: made and revoked by whoever runs the server, not over HTTP."""

from __future__ import annotations

from memtrace_server import auth, ids, times
from memtrace_server.auth import Principal
from memtrace_server.deadlines import Deadline
from memtrace_server.store import Store
from memtrace_server.store.protocol import Transaction
from memtrace_server.store.records import Key, Org

DEFAULT_ORG = "org_default"


def local_principal(store: Store, deadline: Deadline | None = None, org: str | None = None) -> Principal:
    """Return an organisation's admin, as embedded clients are.

    Args:
        store: The store.
        deadline: Until when to wait for it.
        org: The organisation's id or name; None for the default one, which is created if missing.

    Raises:
        ValueError: There is no such organisation; the default one, if nothing may be written.
    """
    if org is not None:
        named = store.read(lambda transaction: _named(transaction, org), deadline)
        return Principal(named.number, named.id, "admin")
    found = store.read(_find_default_org, deadline)
    if found is None:
        if store.is_read_only:
            raise ValueError(f"the store has no organisation {DEFAULT_ORG}, and is opened to be read only")
        found = store.write(_default_org, deadline)
    return Principal(found.number, DEFAULT_ORG, "admin")


def bootstrap(store: Store, key: str | None) -> str | None:
    """Make sure that somebody can use the store: the given key, or a new one if there is none at all.

    Returns:
        The new key, which is told only here.

    Raises:
        ValueError: The given key does not look like one, or was revoked.
    """
    return store.write(lambda transaction: _bootstrap(transaction, key))


def create_org(store: Store, name: str) -> Org:
    """A new organisation.

    Raises:
        ValueError: There is one of this name, or it is no line of text.
    """
    if not name.strip() or not name.isprintable():
        raise ValueError("a name is one line of text")
    now = times.now()
    org = store.write(lambda transaction: transaction.add_org(ids.new_id("org_", now), name, now))
    if org is None:
        raise ValueError(f"there is an organisation {name!r} already")
    return org


def create_key(store: Store, org: str, role: str, name: str) -> str:
    """A new key of the organisation with this id or name; its text is told only here.

    Raises:
        ValueError: There is no such organisation.
    """
    key = auth.new_key()

    def work(transaction: Transaction) -> None:
        found = _named(transaction, org)
        _add_key(transaction, found, key, role, name)

    store.write(work)
    return key


def revoke_key(store: Store, key_id: str) -> None:
    """Revoke the key of this id; requests with it are refused from now on.

    Raises:
        ValueError: There is none that is not revoked already.
    """
    if not store.write(lambda transaction: transaction.revoke_key(key_id, times.now())):
        raise ValueError(f"there is no key {key_id!r} that is not revoked already")


def list_orgs(store: Store) -> list[Org]:
    """All organisations."""
    return store.read(lambda transaction: transaction.orgs())


def list_keys(store: Store) -> list[Key]:
    """All keys, revoked ones too, without their text, which nobody has."""
    return store.read(lambda transaction: transaction.keys())


def _bootstrap(transaction: Transaction, given: str | None) -> str | None:
    org = _default_org(transaction)
    if given is None:
        if transaction.keys():
            return None
        made = auth.new_key()
        _add_key(transaction, org, made, "admin", "first")
        return made
    known = transaction.key(auth.digest(auth.check_key(given)))
    if known is None:
        _add_key(transaction, org, given, "admin", "bootstrap")
    elif known.revoked_at is not None:
        raise ValueError("the bootstrap key was revoked; use another one")
    return None


def _named(transaction: Transaction, org: str) -> Org:
    """Return the organisation with an id or a name.

    Raises:
        ValueError: There is none.
    """
    found = next((o for o in transaction.orgs() if org in {o.id, o.name}), None)
    if found is None:
        raise ValueError(f"there is no organisation {org!r}")
    return found


def _find_default_org(transaction: Transaction) -> Org | None:
    return next((org for org in transaction.orgs() if org.id == DEFAULT_ORG), None)


def _default_org(transaction: Transaction) -> Org:
    made = _find_default_org(transaction) or transaction.add_org(DEFAULT_ORG, "default", times.now())
    if made is None:
        raise ValueError(f"an organisation named 'default' is in the way of {DEFAULT_ORG}")
    return made


def _add_key(transaction: Transaction, org: Org, key: str, role: str, name: str) -> None:
    now = times.now()
    transaction.add_key(
        auth.digest(key),
        Key(
            id=ids.new_id("key_", now), org=org.number, org_id=org.id, role=role, name=name, created_at=now,
            revoked_at=None,
        ),
    )  # fmt: skip
