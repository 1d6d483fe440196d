"""Metadata as options: `--metadata K=V`."""

from __future__ import annotations

import json
from collections.abc import Iterable

import typer


def pairs(texts: Iterable[str]) -> dict[str, object]:
    """Return metadata from texts of the form K=V, where V is JSON or otherwise text."""
    found: dict[str, object] = {}
    for text in texts:
        name, value = _pair(text)
        if name in found:
            raise typer.BadParameter(f"{name!r} is given more than once", param_hint="--metadata")
        found[name] = value
    return found


def _pair(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not of the form K=V", param_hint="--metadata")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
