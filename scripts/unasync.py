"""Derive src/memtrace/_sync from src/memtrace/_async."""

from __future__ import annotations


class UnasyncError(Exception):
    """A module that cannot be derived."""


def write() -> list[str]:
    return []


def check() -> list[str]:
    return []
