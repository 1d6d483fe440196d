"""Help for flags and lists, without their Python types."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class Group(TyperGroup):
    """A group of commands whose help shows no Python types."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401 - the context of the click that is inside typer
        """Return the parameters of the group."""
        return without_types(super().get_params(ctx))


def without_types(parameters: Any) -> Any:  # noqa: ANN401 - parameters of that click
    """Hide the types of flags and lists: typer 0.29 shows `<bool>` and `<list[str]>`."""
    for parameter in parameters:
        if getattr(parameter, "is_bool_flag", False) or parameter.nargs == -1:
            parameter.display_type_rich = lambda ctx: ""  # noqa: ARG005 - the name by which typer calls it
    return parameters
