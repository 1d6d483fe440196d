"""The contract's paths, for who has to name requests without the ids in them."""

from __future__ import annotations

from functools import cache

import attrs
import msgspec


@attrs.frozen
class _Contract:
    """What of openapi.json is needed here."""

    paths: dict[str, dict[str, msgspec.Raw]]


def template_of(method: str, path: str) -> str | None:
    """Give the path of the contract that a request is for, such as `/api/v1/memories/{memory_id}`.

    Args:
        method: The HTTP method, in capitals.
        path: The request's path, from `/api` on.
    """
    segments = path.split("/")
    for template, parts in _templates().get((method, len(segments)), ()):
        if all(part is None or part == segment for part, segment in zip(parts, segments, strict=True)):
            return template
    return None


@cache
def _templates() -> dict[tuple[str, int], list[tuple[str, list[str | None]]]]:
    """Give templates and their segments, None for an id, by method and number of segments."""
    import importlib.resources  # noqa: PLC0415  # large, and for few

    text = importlib.resources.files("memtrace_api").joinpath("openapi.json").read_bytes()
    found: dict[tuple[str, int], list[tuple[str, list[str | None]]]] = {}
    # A fixed path before one with an id in its place.
    for template, operations in sorted(msgspec.json.decode(text, type=_Contract).paths.items(), key=_ids):
        parts = [None if part.startswith("{") else part for part in template.split("/")]
        for method in operations:
            found.setdefault((method.upper(), len(parts)), []).append((template, parts))
    return found


def _ids(item: tuple[str, object]) -> int:
    return item[0].count("{")
