"""The reference of the contract as one HTML page, which needs neither scripts nor a network to be read."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_Node = dict[str, Any]

_META = """
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
"""
_SCRIPT = '<script type="module" src="ui/docs.js"></script>'
_LINKS = '<p class="links"><a href="openapi.json">openapi.json</a> <a href="ui">Look at memories</a></p>'
_VERBS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_METHODS = {  # of the SDK, where they are not called as the operation is
    "getHealth": "health",
    "getReady": "ready",
    "forgetMemory": "forget",
    "forgetMemories": "forget_all",
    "forgetMatching": "forget_all",
    "importRecords": "import_",
    "vacuumStore": "vacuum",
    "listAgentMemories": "get_agent_memories",
    "listSessionMemories": "get_session_memories",
}
_KEY = "mtk_your_api_key"
_CAPITAL = re.compile("([A-Z])")
_ID = re.compile(r"\{\w+\}")  # in a path
_WIDTH = 88  # characters of a line of Python
_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} keys",
    "maxProperties": "at most {} keys",
    "pattern": "matching {}",
}
_LONGEST_PATTERN = 60  # characters that a person can read; what a longer one means is in its description
_LONG_PATTERN = '<a href="openapi.json">a long pattern</a>'


def render(contract: Mapping[str, Any]) -> str:
    """Render an OpenAPI contract as a page for people.

    Args:
        contract: An OpenAPI 3.1 document whose references all point into itself.

    Returns:
        A whole HTML page. Every text of the contract is escaped.
    """
    page = _Page(contract)
    info = contract["info"]
    title = f"{info['title']} {info['version']}"
    style = _style()
    about = _el("h1", escape(title)) + _el("p", _inline(info.get("summary", "")), class_="lead")
    return "<!doctype html>\n" + _el(
        "html",
        _el("head", _META, _el("title", escape(f"{title} reference")), _el("style", style), _SCRIPT),
        _el(
            "body",
            _el("a", "Skip to the reference", class_="skip", href="#main"),
            _el("nav", page.contents(), aria_label="Contents"),
            _el(
                "main",
                _el("header", about, _LINKS, _text(info.get("description"))),
                page.keys(),
                page.operations(),
                page.schemas(),
                id="main",
            ),
        ),
        lang="en",
    )


def content_security_policy() -> str:
    """Return the `Content-Security-Policy` of the page: its own style sheet, and scripts of this server."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; script-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _style() -> str:
    return resources.files(__package__).joinpath("docs.css").read_text("utf-8")


class _Page:
    """The parts of the page, which look things up in the contract."""

    def __init__(self, contract: Mapping[str, Any]) -> None:
        self._contract = contract
        self._schemas: _Node = contract["components"]["schemas"]
        self._tags = {tag["name"]: tag["description"] for tag in contract["tags"]}

    def contents(self) -> str:
        html = _el("p", _link("main", "About")) + _el("p", _link("keys", "Keys"))
        for tag in self._tags:
            links = (
                _link(op["operationId"], _badge(method) + _inline(op["summary"]))
                for method, _, op in self._tagged(tag)
            )
            html += _el("h2", _link(f"tag-{tag}", escape(tag.capitalize()))) + _list(links)
        html += _el("h2", _link("schemas", "Schemas")) + _list(map(_schema_link, self._schemas))
        return _el("details", _el("summary", "Contents"), html, open="")

    def keys(self) -> str:
        schemes = self._contract["components"]["securitySchemes"].values()
        rows = ((_code(s.get("name", "Authorization")), _inline(s["description"])) for s in schemes)
        url = self._contract["servers"][0]["url"]
        client = _pre(f'from memtrace import Memtrace\n\nclient = Memtrace("{url}", "{_KEY}")', name="Python")
        return _el("section", _el("h2", "Keys"), _table(("Header", "Value"), rows), client, id="keys")

    def operations(self) -> str:
        return "".join(
            _el(
                "section",
                _el("h2", escape(tag.capitalize())),
                _text(about),
                *(self._operation(*operation) for operation in self._tagged(tag)),
                id=f"tag-{tag}",
            )
            for tag, about in self._tags.items()
        )

    def schemas(self) -> str:
        articles = (self._schema(name, schema) for name, schema in self._schemas.items())
        return _el("section", _el("h2", "Schemas"), *articles, id="schemas")

    def _tagged(self, tag: str) -> Iterator[tuple[str, str, _Node]]:
        """Return the operations with a first tag, each with the parameters of its path."""
        for path, item in self._contract["paths"].items():
            for method, op in item.items():
                if method in _VERBS and op["tags"][0] == tag:
                    references = item.get("parameters", []) + op.get("parameters", [])
                    yield method, path, op | {"parameters": [self._resolve(r) for r in references]}

    def _operation(self, method: str, path: str, op: _Node) -> str:
        body = self._resolve(op.get("requestBody", {}))
        media: _Node = next(iter(body.get("content", {}).values()), {})
        examples = _examples(media)
        route = _badge(method) + " " + _code(path)
        needs = (
            _note("Needs a key of role ", _code(op["x-role"]))
            if "x-role" in op
            else _note("Needs no key", ".")
        )
        html = _el("h3", _inline(op["summary"]))
        html += _el("p", route, _el("span", escape(op["operationId"]), class_="name"), class_="route")
        html += _text(op.get("description")) + _el("p", needs) + self._parameters(op["parameters"])
        if media:
            html += _el("h4", "Request body" if body.get("required") else "Request body, optional")
            html += _el("p", self._type(media["schema"])) + self._body_fields(media["schema"])
        for caption, value in examples:
            html += _el("p", _inline(caption)) if caption else ""
            html += _pre(json.dumps(value, indent=2, ensure_ascii=False), name="JSON")
        html += _el("h4", "Call it")
        for _, value in examples or [("", None)]:
            html += _pre(self._curl(method, path, op, value), name="curl")
            if call := self._python(op, value):
                html += _pre(call, name="Python")
        html += self._answers(op["responses"]) + self._answer_fields(op["responses"])
        url = self._url(path, op)
        return _el("article", html, id=op["operationId"], data_method=method.upper(), data_url=url)

    def _parameters(self, parameters: list[_Node]) -> str:
        if not parameters:
            return ""
        rows = (
            (
                _field(p["name"], required=p.get("required", False)),
                escape(p["in"]),
                self._type(p["schema"]),
                _inline(p.get("description", "")) + _example(p),
            )
            for p in parameters
        )
        return _el("h4", "Parameters") + _table(("Name", "Where", "Type", "Description"), rows)

    def _answers(self, responses: _Node) -> str:
        answers = ((status, self._resolve(answer)) for status, answer in responses.items())
        rows = (
            (
                _el("strong", escape(status)),
                _inline(a["description"]) + _note("Headers: ", ", ".join(map(_code, a.get("headers", ())))),
                "".join(self._type(media["schema"]) for media in a.get("content", {}).values()) or "none",
            )
            for status, a in answers
        )
        return _el("h4", "Responses") + _table(("Status", "Meaning", "Body"), rows)

    def _body_fields(self, schema: _Node) -> str:
        """Return the fields of a body, or of each alternative."""
        found = self._resolve(schema)
        if "oneOf" in found:
            return "".join(
                _el("p", self._type(branch), ":") + self._body_fields(branch) for branch in found["oneOf"]
            )
        return self._fields(found)

    def _answer_fields(self, responses: _Node) -> str:
        """Return the fields of the first successful response, folded away."""
        first = next(self._resolve(answer) for status, answer in responses.items() if status.startswith("2"))
        media: _Node = next(iter(first.get("content", {}).values()), {})
        fields = self._body_fields(media["schema"]) if media else ""
        return _el("details", _el("summary", "Fields of the response"), fields) if fields else ""

    def _example_ids(self, op: _Node) -> list[str]:
        return [str(p.get("example", p["name"])) for p in op["parameters"] if p["in"] == "path"]

    def _example_query(self, op: _Node) -> _Node:
        """Return the required query parameters, with the examples of the contract."""
        asked = [p for p in op["parameters"] if p["in"] == "query"]
        needed = [p for p in asked if p.get("required")] or (asked[:1] if op.get("x-requires-filter") else [])
        return {p["name"]: p.get("example", p["name"]) for p in needed}

    def _url(self, path: str, op: _Node) -> str:
        """Return the path and query of a call with the examples of the contract."""
        for value in self._example_ids(op):
            path = _ID.sub(quote(value, safe=""), path, count=1)
        query = self._example_query(op)
        return path + (f"?{urlencode(query)}" if query else "")

    def _python(self, op: _Node, body: object) -> str:
        """Return a call of the SDK with the examples of the contract; empty if the SDK has none."""
        if op["tags"][0] == "server":
            return ""
        name = _METHODS.get(op["operationId"]) or _CAPITAL.sub(r"_\1", op["operationId"]).lower()
        arguments = [repr(value) for value in self._example_ids(op)]
        fields: _Node = {**self._example_query(op), **(body if isinstance(body, dict) else {})}
        if "memories" in fields:
            many = fields.pop("memories")
            if name == "add_memory":
                name = "add_memories"
            else:
                many = [{"kind": "memory", **memory} for memory in many]
            arguments.append(repr(many))
        arguments += [f"{field}={value!r}" for field, value in fields.items()]
        call = f"client.{name}({', '.join(arguments)})"
        if len(call) > _WIDTH:
            call = f"client.{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"
        return call

    def _curl(self, method: str, path: str, op: _Node, body: object) -> str:
        """Return a command that calls the operation with the examples of the contract."""
        url = self._contract["servers"][0]["url"] + self._url(path, op)
        lines = [["curl", *(() if method == "get" else ("-X", method.upper())), url]]
        if op.get("security", self._contract.get("security")):
            lines.append(["-H", f"x-api-key: {_KEY}"])
        if body is not None:
            lines += [["-H", "content-type: application/json"], ["-d", json.dumps(body, ensure_ascii=False)]]
        return " \\\n  ".join(map(shlex.join, lines))

    def _schema(self, name: str, schema: _Node) -> str:
        html = _el("h3", escape(name)) + _text(schema.get("description"))
        html += _el("p", self._type(schema), _example(schema))
        return _el("article", html, self._fields(schema), id=f"schema-{name}")

    def _fields(self, schema: _Node) -> str:
        if "properties" not in schema:
            return ""
        required = schema.get("required", ())
        rows = (
            (
                _field(field, required=field in required),
                self._type(value),
                _inline(self._resolve(value).get("description", "")) + _example(self._resolve(value)),
            )
            for field, value in schema["properties"].items()
        )
        return _table(("Field", "Type", "Description"), rows)

    def _type(self, schema: _Node) -> str:
        """Return the type of a schema in words, with its limits and links to the schemas that it names."""
        if "$ref" in schema:
            return _schema_link(schema["$ref"].rpartition("/")[2])
        choices: list[_Node] = schema.get("anyOf") or schema.get("oneOf") or []
        kinds: str | list[str] = schema.get("type", [])
        words = [self._type(choice) for choice in choices]
        words += [self._kind(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds)]
        html = " or ".join(words) or "any JSON value"
        html += "".join(f", and also {self._type(part)}" for part in schema.get("allOf", []))
        limits = [text.format(_limit(schema[key])) for key, text in _LIMITS.items() if key in schema]
        if "enum" in schema:
            limits.insert(0, "one of " + ", ".join(map(_code, schema["enum"])))
        if "propertyNames" in schema:
            limits.append(f"each key a {self._type(schema['propertyNames'])}")
        if "default" in schema:
            limits.append(f"default {_code(json.dumps(schema['default']))}")
        return html + _note("", "; ".join(limits))

    def _kind(self, kind: str, schema: _Node) -> str:
        if kind == "array":
            return f"array of {self._type(schema.get('items', {}))}"
        if kind == "object" and isinstance(values := schema.get("additionalProperties"), dict):
            return f"object of {self._type(values)}"
        return escape(f"{kind} ({schema['format']})" if kind == "string" and "format" in schema else kind)

    def _resolve(self, node: _Node) -> _Node:
        """Return the target of a reference with the keywords beside it, or any other node unchanged."""
        while "$ref" in node:
            target: Any = self._contract
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target | {key: value for key, value in node.items() if key != "$ref"}
        return node


def _limit(value: object) -> str:
    is_long = isinstance(value, str) and len(value) > _LONGEST_PATTERN
    return _LONG_PATTERN if is_long else _code(value)


def _examples(media: _Node) -> list[tuple[str, object]]:
    """Return the examples of a body, each with its caption, from `example` or `examples`."""
    single = [("", media["example"])] if "example" in media else []
    return single + [(e.get("summary", ""), e["value"]) for e in media.get("examples", {}).values()]


def _example(node: _Node) -> str:
    for value in [node["example"]] if "example" in node else node.get("examples", []):
        return _note(
            "For example ", _code(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        )
    return ""


def _field(name: str, *, required: bool) -> str:
    return _code(name) + (" " + _el("small", "required", class_="required") if required else "")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = _el("tr", *(_el("th", cell, scope="col") for cell in head))
    body = (_el("tr", *(_el("td", cell) for cell in row)) for row in rows)
    return _el("div", _el("table", _el("thead", top), _el("tbody", *body)), class_="wide", tabindex="0")


def _list(items: Iterable[str]) -> str:
    return _el("ul", *(_el("li", item) for item in items))


def _link(anchor: str, html: str) -> str:
    return _el("a", html, href=f"#{anchor}")


def _schema_link(name: str) -> str:
    return _link(f"schema-{name}", escape(name))


def _code(value: object) -> str:
    return _el("code", escape(str(value)))


def _pre(text: str, name: str) -> str:
    return _el("pre", escape(text), tabindex="0", data_name=name)


def _badge(method: str) -> str:
    return _el("span", method.upper(), class_=f"method {method}")


def _note(label: str, html: str) -> str:
    return _el("small", label, html, class_="note") if html else ""


def _text(markdown: str | None) -> str:
    """Return HTML of paragraphs, bold text and code: the markdown that the contract uses."""
    return "".join(_el("p", _inline(part)) for part in re.split(r"\n\s*\n", (markdown or "").strip()) if part)


def _inline(markdown: str) -> str:
    # Text and code alternate; bold is looked for outside code only.
    parts = re.split(r"`([^`]+)`", markdown)
    parts[::2] = [_BOLD.sub(r"<strong>\1</strong>", escape(text)) for text in parts[::2]]
    parts[1::2] = map(_code, parts[1::2])
    return "".join(parts)


def _el(tag: str, *children: str, **attributes: str) -> str:
    """Return an element; children are HTML, attributes are text with names such as `class_`, `aria_label`."""
    named = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
    opening = " ".join([tag, *(f'{name}="{escape(value)}"' for name, value in named)])
    newline = "\n" if tag in _BLOCKS else ""
    return f"<{opening}>{''.join(children)}</{tag}>{newline}"


_BOLD = re.compile(r"\*\*(.+?)\*\*", re.DOTALL)
# A line of the page ends with each of these, so that its source can be read too.
_BLOCKS = frozenset(
    {"head", "style", "nav", "header", "section", "article", "details", "h3", "p", "pre", "li", "div", "tr"}
)
