"""Organisations and their keys, which operators create and revoke; not over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from memtrace_server import audit, auth, ids, times
from memtrace_server.auth import Principal
from memtrace_server.contract import Contract
from memtrace_server.deadlines import Deadline
from memtrace_server.store import Store
from memtrace_server.store.protocol import Transaction
from memtrace_server.store.records import AuditEntry, Key, Org

DEFAULT_ORG = "org_default"
_LIST = "memtrace key list shows the keys of a store"


class UnmetError(ValueError):
    """The organisations or keys of the store do not allow an operation."""


def local_principal(store: Store, deadline: Deadline | None = None, org: str | None = None) -> Principal:
    """Return an organisation's admin, as embedded clients are.

    Args:
        store: The store.
        deadline: When to stop waiting for the store.
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
    """Add a key, or create one if the store has none, so that the store can be used.

    Returns:
        The new key, which is returned only here; None if none was created.

    Raises:
        ValueError: The key is malformed, or was revoked.
    """
    return store.write(lambda transaction: _bootstrap(transaction, key))


def create_org(store: Store, name: str) -> Org:
    """Create an organisation and return it.

    Raises:
        ValueError: The name is taken, or is not one line of text.
    """
    if not name.strip() or not name.isprintable():
        raise ValueError("a name is one line of text")
    now = times.now()

    def work(transaction: Transaction) -> Org:
        org = transaction.add_org(ids.new_id("org_", now), name, now)
        if org is None:
            raise UnmetError(f"there is an organisation {name!r} already")
        audit.record(transaction, audit.LOCAL, "org.created", org_id=org.id, subject=org.id)
        return org

    return store.write(work)


def create_key(  # noqa: PLR0913 - a key has as many properties
    store: Store,
    org: str,
    role: str,
    name: str,
    *,
    expires_at: int | None = None,
    agent_id: str | None = None,
    show: Callable[[str], object] = lambda _: None,
) -> str:
    """Create a key for the organisation with this id or name and return it; its text is returned only here.

    Args:
        store: The store.
        org: The organisation's id or name.
        role: What the key may do.
        name: What it is for.
        expires_at: When it stops, in ns; never if None.
        agent_id: The agent whose memories it is limited to; all if None.
        show: Called with the text. If it raises an error, the key is revoked.

    Raises:
        ValueError: There is no such organisation, or the agent's id cannot be one.
    """
    wrong = [] if agent_id is None else Contract.load().check("AgentId", agent_id, "agent")
    if wrong:
        raise ValueError(f"agent: {wrong[0].message}")
    text = auth.new_key()

    def work(transaction: Transaction) -> Key:
        found = _named(transaction, org)
        key = _new_key(found, role, name, expires_at=expires_at, agent_id=agent_id)
        _add_key(transaction, key, text)
        return key

    _show(store, store.write(work), text, show)
    return text


def rotate_key(
    store: Store, key_id: str, overlap: int, show: Callable[[str], object] = lambda _: None
) -> tuple[str, Key, Key]:
    """Create a successor of a key, which has the same rights, and let the old key expire.

    Args:
        store: The store.
        key_id: The id of the key to replace.
        overlap: How long the old key stays valid, in ns.
        show: Called with the text of the new key. If it raises an error, the new key is revoked, and the old
            one does not expire.

    Returns:
        The text of the new key, the new key, and the old one as it was.

    Raises:
        ValueError: There is no such key that is valid.
    """
    text = auth.new_key()

    def work(transaction: Transaction) -> tuple[Key, Key]:
        now = times.now()
        old = _key_of(transaction, key_id)
        is_over = old is not None and old.expires_at is not None and old.expires_at <= now
        if old is None or old.revoked_at is not None or is_over:
            raise UnmetError(f"there is no key {key_id!r} that is neither revoked nor expired; {_LIST}")
        org = next(org for org in transaction.orgs() if org.number == old.org)
        new = _new_key(org, old.role, old.name, expires_at=None, agent_id=old.agent_id)
        _add_key(transaction, new, text, replaces=old.id)
        return new, old

    new, old = store.write(work)
    _show(store, new, text, show)
    store.write(lambda transaction: transaction.expire_key(old.id, times.now() + overlap))
    return text, new, old


def revoke_key(store: Store, key_id: str) -> None:
    """Revoke the key of this id; requests with it are refused from now on.

    Raises:
        ValueError: No such key exists, or it was revoked already.
    """

    def work(transaction: Transaction) -> None:
        key = _key_of(transaction, key_id)
        if key is None or not transaction.revoke_key(key_id, times.now()):
            raise UnmetError(f"there is no key {key_id!r} that is not revoked already; {_LIST}")
        audit.record(transaction, audit.LOCAL, "key.revoked", org_id=key.org_id, subject=key_id)

    store.write(work)


def list_orgs(store: Store) -> list[Org]:
    """Return all organisations."""
    return store.read(lambda transaction: transaction.orgs())


def list_audit(store: Store) -> list[AuditEntry]:
    """Return the audit log, oldest first."""
    return store.read(lambda transaction: transaction.audit())


def note_restore(store: Store, memories: int) -> None:
    """Record in the audit log that a backup with this number of memories was restored."""
    store.write(
        lambda transaction: audit.record(transaction, audit.LOCAL, "store.restored", memories=memories)
    )


def list_keys(store: Store) -> list[Key]:
    """Return all keys, including revoked ones; their text is stored nowhere."""
    return store.read(lambda transaction: transaction.keys())


def _bootstrap(transaction: Transaction, given: str | None) -> str | None:
    org = _default_org(transaction)
    if given is None:
        if transaction.keys():
            return None
        made = auth.new_key()
        _add_key(transaction, _new_key(org, "admin", "first", expires_at=None, agent_id=None), made)
        return made
    known = transaction.key(auth.digest(auth.check_key(given)))
    if known is None:
        _add_key(transaction, _new_key(org, "admin", "bootstrap", expires_at=None, agent_id=None), given)
    elif known.revoked_at is not None:
        raise UnmetError("the bootstrap key was revoked; use another one")
    return None


def _named(transaction: Transaction, org: str) -> Org:
    """Return the organisation with an id or a name.

    Raises:
        ValueError: There is none.
    """
    found = next((o for o in transaction.orgs() if org in {o.id, o.name}), None)
    if found is None:
        raise UnmetError(
            f"there is no organisation {org!r}; memtrace org list shows the organisations of a store"
        )
    return found


def _find_default_org(transaction: Transaction) -> Org | None:
    return next((org for org in transaction.orgs() if org.id == DEFAULT_ORG), None)


def _default_org(transaction: Transaction) -> Org:
    made = _find_default_org(transaction) or transaction.add_org(DEFAULT_ORG, "default", times.now())
    if made is None:
        raise UnmetError(f"an organisation named 'default' is in the way of {DEFAULT_ORG}")
    return made


def _key_of(transaction: Transaction, key_id: str) -> Key | None:
    keys = transaction.keys()
    return next((key for key in keys if key.id == key_id), None)


def _new_key(org: Org, role: str, name: str, *, expires_at: int | None, agent_id: str | None) -> Key:
    now = times.now()
    return Key(
        id=ids.new_id("key_", now), org=org.number, org_id=org.id, role=role, name=name, created_at=now,
        expires_at=expires_at, agent_id=agent_id,
    )  # fmt: skip


def _show(store: Store, key: Key, text: str, show: Callable[[str], object]) -> None:
    """Show the text of a new key, or revoke the key."""
    try:
        show(text)
    except BaseException:
        revoke_key(store, key.id)
        raise


def _add_key(transaction: Transaction, key: Key, text: str, **details: str) -> None:
    transaction.add_key(auth.digest(text), key)
    audit.record(
        transaction, audit.LOCAL, "key.created", org_id=key.org_id, subject=key.id, role=key.role, **details
    )
