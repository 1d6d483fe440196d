"""Signatures and docstrings that list the fields which methods take as keywords."""

from __future__ import annotations

import inspect
import sys
import types
from typing import Annotated, Any, TypeVar, get_overloads, get_type_hints

from memtrace_api.types import FreeForm

T = TypeVar("T")

_UNPACKED = "Unpack["
_KEY = "    idempotency_key: Your own key for this write, to repeat it safely; a new one by default."


def shows_fields(cls: type[T]) -> type[T]:
    """Show the contract's fields in the signature and the docstring of each method that takes them.

    Type checkers read `**fields: Unpack[MemoryFields]`. For `help()`, and for frameworks that make tools of
    methods, each field becomes a keyword of its own, with the type and the description that the generated
    TypedDict has. For a method with overloads, those of the last one are shown. An `idempotency_key` is
    described too, as it is the same for every write.
    """
    for method in [method for base in cls.__mro__ for method in vars(base).values()]:
        if isinstance(method, types.FunctionType):
            described = [_KEY] if "idempotency_key" in method.__annotations__ else []
            fields = _fields_of(method)
            if fields is not None:
                _show(method, fields)
                described.append(inspect.cleandoc(fields.__doc__ or "").partition("Attributes:\n")[2])
            if described and method.__doc__:
                method.__doc__ = _described(method.__doc__, "\n".join(described))
    return cls


def _fields_of(method: types.FunctionType) -> type | None:
    for signature in reversed((*get_overloads(method), method)):
        for annotation in signature.__annotations__.values():
            if str(annotation).startswith(_UNPACKED):
                # Not in its globals, which are those of another module if something wraps the method.
                found: type = getattr(sys.modules[method.__module__], annotation[len(_UNPACKED) : -1])
                return found
    return None


def _show(method: types.FunctionType, fields: type) -> None:
    # Real types, not their names: a framework that makes tools of methods does not know this module.
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


def _described(docstring: str, arguments: str) -> str:
    """Return a docstring with more arguments, after its own."""
    text = inspect.cleandoc(docstring)
    if "Args:\n" in text:
        head, _, rest = text.partition("Args:\n")
        own, _, rest = rest.partition("\n\n")
        arguments = f"{own}\n{arguments}"
    else:
        head, section, rest = text.partition("Returns:\n")
        rest = section + rest
    return f"{head}Args:\n{arguments}\n\n{rest}"


class _NoFunction:
    """Marks a parameter that takes a function, so that pydantic leaves it out of a tool."""

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> dict[str, str]:
        return {"type": "none"}


def _shown(hint: Any) -> Any:  # noqa: ANN401  # of any type
    if "Callable[" in str(hint):
        return Annotated[hint, _NoFunction()]
    return Annotated[hint, FreeForm()] if "Mapping[" in str(hint) else hint
