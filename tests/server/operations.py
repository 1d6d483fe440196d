"""Every operation of the contract, with a valid request for each."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import msgspec
from attrs import field, frozen

CONTRACT: dict[str, Any] = msgspec.json.decode(files("memtrace_api").joinpath("openapi.json").read_bytes())
METHODS = ("get", "put", "post", "delete", "patch")


@frozen
class Operation:
    """One operation.

    Attributes:
        role: Its `x-role`; None if it needs no key.
        is_page: Whether it is a page of the server, for which the SDK has no method.
        names: The path's parameters.
        query: The query parameters that are required, from the contract's examples; one if any will do.
        bodies: The contract's examples of its body.
    """

    id: str
    method: str
    path: str
    role: str | None
    is_page: bool
    names: tuple[str, ...]
    query: Mapping[str, str]
    bodies: tuple[Any, ...] = field(repr=False)

    def request(self, **ids: str) -> dict[str, Any]:
        """Return arguments of httpx's `request`, with ids in place of those of the contract's examples."""
        values = {**{name: _example(name) for name in self.names}, **ids}
        body = copy.deepcopy(self.bodies[0]) if self.bodies else None
        if isinstance(body, dict):
            body.update({name: value for name, value in ids.items() if name in body})
        return {
            "method": self.method,
            "url": self.path.format(**values),
            "params": {**self.query, **{name: value for name, value in ids.items() if name in self.query}},
            "json": body,
        }


def _example(name: str) -> str:
    inline = (
        parameter
        for item in CONTRACT["paths"].values()
        for method in METHODS
        for parameter in item.get(method, {}).get("parameters", ())
    )
    return next(
        str(parameter["example"])
        for parameter in (*CONTRACT["components"]["parameters"].values(), *inline)
        if parameter.get("name") == name and parameter["in"] == "path"
    )


def _resolve(node: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        _, _, section, name = node["$ref"].split("/")
        node = CONTRACT["components"][section][name]
    return node


def _operation(path: str, method: str, item: Mapping[str, Any]) -> Operation:
    spec = item[method]
    parameters = [_resolve(p) for p in [*item.get("parameters", ()), *spec.get("parameters", ())]]
    query: dict[str, str] = {}
    for parameter in parameters:
        needs_one = not query and spec.get("x-requires-filter")
        if parameter["in"] == "query" and (needs_one or parameter.get("required")):
            query[parameter["name"]] = str(parameter["example"])
    content = _resolve(spec.get("requestBody", {})).get("content", {}).get("application/json", {})
    bodies = [e["value"] for e in content.get("examples", {}).values()] or [content.get("example")]
    return Operation(
        id=spec["operationId"],
        method=method.upper(),
        path=path,
        role=spec.get("x-role"),
        is_page=spec["tags"] == ["server"],
        names=tuple(p["name"] for p in parameters if p["in"] == "path"),
        query=query,
        bodies=tuple(body for body in bodies if body is not None),
    )


OPERATIONS = {
    operation.id: operation
    for path, item in CONTRACT["paths"].items()
    for method in METHODS
    if method in item
    for operation in [_operation(path, method, item)]
}
"""By operationId."""
