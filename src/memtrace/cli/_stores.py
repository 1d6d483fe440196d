"""The store as a whole: check it, shrink it, copy it."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import TyperException

from memtrace.cli._opened import DEFAULT_STORE, StoreOption, opened


def check(*, store: StoreOption = DEFAULT_STORE) -> None:
    """Check that the store is consistent; print what is not."""
    with opened(store) as opened_store:
        wrong = list(opened_store.check())
    for line in wrong:
        print(line)
    if wrong:
        raise TyperException(f"the store is not consistent: {len(wrong)} things are wrong")
    print("The store is consistent.")


def vacuum(*, store: StoreOption = DEFAULT_STORE) -> None:
    """Rewrite the store, so that its file holds no trace of what was forgotten; writes wait meanwhile."""
    with opened(store) as opened_store:
        opened_store.vacuum()


def backup(
    file: Annotated[str, typer.Argument(help="The new file.")], *, store: StoreOption = DEFAULT_STORE
) -> None:
    """Copy the store to a new file, while others read and write it, and verify the copy."""
    with opened(store) as opened_store:
        memories = opened_store.backup(file)
    print(f"{file} holds {memories:,} memories and was verified.")
