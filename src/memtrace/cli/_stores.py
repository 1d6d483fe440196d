"""Commands for a whole store: check, vacuum, back up, restore."""

from __future__ import annotations

from typing import Annotated

import attrs
import msgspec
import typer
from typer import TyperException

from memtrace.cli._opened import DEFAULT_STORE, StoreOption, opened, unavailability
from memtrace.cli._output import counted, write_utf8


def check(*, store: StoreOption = DEFAULT_STORE) -> None:
    """Check that the store is consistent, and print each fault."""
    with opened(store) as opened_store:
        wrong = list(opened_store.check())
    for line in wrong:
        print(line)
    if wrong:
        raise TyperException(f"the store is not consistent: {counted(len(wrong), 'fault', 'faults')}")
    print("The store is consistent.")


def audit(*, store: StoreOption = DEFAULT_STORE) -> None:
    """Print who created keys, forgot by filter, deleted, imported or restored, one JSON object per line."""
    from memtrace_server import tenants, times

    with opened(store) as opened_store:
        entries = tenants.list_audit(opened_store)
    write_utf8()
    for entry in entries:
        line = {"time": times.render(entry.at), **attrs.asdict(entry)}
        del line["at"]
        print(
            msgspec.json.encode({name: value for name, value in line.items() if value is not None}).decode()
        )


def vacuum(*, store: StoreOption = DEFAULT_STORE) -> None:
    """Rewrite the store without any trace of forgotten memories; writes wait meanwhile."""
    with opened(store) as opened_store:
        opened_store.vacuum()


def backup(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The new file.")],
    *,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Copy the store to a new file and verify the copy; the store may be in use."""
    with opened(store) as opened_store:
        memories = opened_store.backup(file)
    print(f"{file} holds {counted(memories, 'memory', 'memories')} and was verified.")


def restore(
    file: Annotated[str, typer.Argument(metavar="BACKUP", help="The file that `memtrace backup` wrote.")],
    *,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Replace the store with a backup and keep the old store; no process may have the store open."""
    from memtrace_server import tenants
    from memtrace_server.store import restore_store
    from memtrace_server.store_url import StoreUrl

    with unavailability():
        done = restore_store(store, file)
    with opened(store) as opened_store:
        tenants.note_restore(opened_store, done.memories)
    restored = counted(done.memories, "memory", "memories")
    print(f"Restored {restored} from {file} to {StoreUrl.parse(store).path}.")
    if done.replaced:
        print(f"The previous store is now {done.replaced}.")
