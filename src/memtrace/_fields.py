"""Methods that take the contract's fields as keywords: what they show, and what they make of them."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_overloads, get_type_hints

import attrs
from memtrace_api.fields import DecisionFields, MemoryFields
from memtrace_api.types import FreeForm

from memtrace._values import fields_of, prepared
from memtrace.models import SearchQuery

T = TypeVar("T")

_UNPACKED = "Unpack["


def shows_fields(cls: type[T]) -> type[T]:
    """Show the contract's fields in the signature and the docstring of each method that takes them.

    Type checkers read `**fields: Unpack[MemoryFields]`. For `help()`, and for frameworks that make tools of
    methods, each field becomes a keyword of its own, with the type and the description that the generated
    TypedDict has. For a method with overloads, those of the last one are shown.
    """
    for method in vars(cls).values():
        if isinstance(method, types.FunctionType):
            fields = _fields_of(method)
            if fields is not None:
                _show(method, fields)
    return cls


def request_of(model: type[T], given: T | Mapping[str, Any] | None, fields: Mapping[str, object]) -> T:
    """Return the request object that a method was called with, or make it of the keywords.

    Raises:
        TypeError: If both were given, a field is unknown or missing, or what was given is something else.
    """
    _require_known(model, fields)
    if given is None:
        return model(**fields_of(model, fields))
    named = [name for name, value in fields.items() if value is not None]
    article = "an" if model.__name__[0] in "AEIOU" else "a"
    if named:
        raise TypeError(
            f"give {article} {model.__name__} or its fields as keywords, not both: {', '.join(named)}"
        )
    if isinstance(given, Mapping):
        _require_known(model, given)
        plain = fields_of(model, given)
        model.from_dict(plain)  # type: ignore[attr-defined]  # a generated model has it, and it checks the types
        return model(**plain)
    if not isinstance(given, model):
        raise TypeError(
            f"give {article} {model.__name__} or its fields as keywords, not {type(given).__name__}"
        )
    return prepared(given)


def named_request_of(
    model: type[T], name: str, given: T | Mapping[str, Any] | str | None, fields: Mapping[str, object]
) -> T:
    """Do as `request_of`, where a string is the field of this name."""
    if not isinstance(given, str):
        return request_of(model, given, fields)
    if name in fields:
        raise TypeError(f"{name} is given twice: {given!r} and {fields[name]!r}")
    return request_of(model, None, {name: given, **fields})


def search_query_of(query: SearchQuery | str | None, conditions: Mapping[str, object]) -> SearchQuery:
    """Do as `request_of` for a search, where a string is the words to look for."""
    if isinstance(query, str) or query is None:
        return request_of(SearchQuery, None, {"query": query, **conditions})
    return request_of(SearchQuery, query, conditions)


def decided(reasoning: str, fields: DecisionFields) -> MemoryFields:
    """Return the fields of a memory that is a decision."""
    metadata = {**(fields.get("metadata") or {}), "reasoning": reasoning}
    return {**fields, "memory_type": "decision", "event_type": "decision", "metadata": metadata}


def _require_known(model: type, fields: Mapping[str, object]) -> None:
    known = attrs.fields_dict(model)
    for name in fields:
        if name not in known:
            raise TypeError(f"unknown field {name!r}; {model.__name__} has {', '.join(known)}")


def _fields_of(method: types.FunctionType) -> type | None:
    for signature in reversed((*get_overloads(method), method)):
        for annotation in signature.__annotations__.values():
            if annotation.startswith(_UNPACKED):
                found: type = method.__globals__[annotation[len(_UNPACKED) : -1]]
                return found
    return None


def _show(method: types.FunctionType, fields: type) -> None:
    # Real types, not their names: who makes a tool of a method knows nothing of this module.
    own, of_fields = get_type_hints(method), get_type_hints(fields)
    signature = inspect.signature(method)
    parameters = [
        parameter.replace(annotation=_shown(own.get(parameter.name, inspect.Parameter.empty)))
        for parameter in signature.parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_shown(hint | None))
        for name, hint in of_fields.items()
    ]
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]  # inspect reads it
        parameters=parameters, return_annotation=own["return"]
    )
    method.__annotations__ = {p.name: p.annotation for p in parameters[1:]} | {"return": own["return"]}
    if method.__doc__ and fields.__doc__:
        _, _, described = inspect.cleandoc(fields.__doc__).partition("Attributes:\n")
        text = inspect.cleandoc(method.__doc__)
        if "Args:\n" in text:
            head, _, rest = text.partition("Args:\n")
            texts, _, rest = rest.partition("\n\n")
            described = f"{texts}\n{described}"
        else:
            head, section, rest = text.partition("Returns:\n")
            rest = section + rest
        method.__doc__ = f"{head}Args:\n{described}\n\n{rest}"


class _NoFunction:
    """Marks a parameter that takes a function, for pydantic: a tool leaves it out."""

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> dict[str, str]:
        return {"type": "none"}


def _shown(hint: Any) -> Any:  # noqa: ANN401  # of any type
    if "Callable[" in str(hint):
        return Annotated[hint, _NoFunction()]
    return Annotated[hint, FreeForm()] if "Mapping[" in str(hint) else hint
