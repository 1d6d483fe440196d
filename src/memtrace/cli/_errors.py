"""Commands and groups of commands: their help, error messages and exit codes.

Errors of the SDK name fields of requests. This module replaces them with the options that a person wrote.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import redirect_stdout
from typing import Any

from typer import TyperException
from typer.core import TyperCommand, TyperGroup

from memtrace.exceptions import APIConnectionError, AuthenticationError, BadRequestError, MemtraceError

FAILED = 1
MISUSED = 2
_LOCAL = ("sqlite:", "postgresql:", "postgres:")
_INVALID = {0, 400}  # statuses of invalid requests: never sent, or refused
_INDEX = re.compile(r"\A(?:\.|\[)\d+\]?")  # of a value of an option that may be repeated
_FIELD = re.compile(r"(\w+)((?:[.\[]\S*)?): ")
# The parameters for keys, and for each the parameter of its URL.
_KEYS = {"key": "url", "from_key": "source", "to_key": "target"}
# Fields of requests whose parameters in commands have other names.
_PARAMETERS = {
    "agent_id": ("agent",),
    "api_key": ("key",),
    "base_url": ("url",),
    "content": ("text", "decision"),
    "event_types": ("event_type",),
    "memory": ("memory_ids",),
    "memory_id": ("memory_ids",),
    "memory_type": ("kind",),
    "memory_types": ("kind",),
    "query": ("question", "query"),
    "session_id": ("session",),
    "tags": ("tag",),
}


class Failure(TyperException):
    """A command failed, or could not be run.

    Args:
        message: What went wrong, and what to do about it.
        exit_code: 1 if the command failed, 2 if it was not run.
    """

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Command(TyperCommand):
    """A command whose errors name its own options and arguments."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401 - the context of the click that is inside typer
        """Return the parameters of the command."""
        return _without_types(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as above
        """Run the command."""
        self._check_keys(ctx)
        try:
            return super().invoke(ctx)
        except Failure as error:
            raise Failure(self._in_own_words(error.message), error.exit_code) from error
        except ValueError as error:
            raise Failure(self._in_own_words(str(error)), MISUSED) from error

    def _in_own_words(self, message: str) -> str:
        found = _FIELD.match(message)
        if not found:
            return message
        names = _PARAMETERS.get(found[1], (found[1],))
        for parameter in self.params:
            if parameter.name in names:
                is_option = parameter.param_type_name == "option"
                word = parameter.opts[0] if is_option else parameter.metavar or parameter.name.upper()
                where = _INDEX.sub("", found[2]) if parameter.multiple else found[2]
                return f"{word.strip('[].')}{where}: {message[found.end() :]}"
        return message

    def _check_keys(self, ctx: Any) -> None:  # noqa: ANN401 - as above
        """Refuse a key option for a store; a key in a variable is allowed, as other commands may need it."""
        for key in _KEYS.keys() & ctx.params.keys():
            is_written = ctx.get_parameter_source(key).name == "COMMANDLINE"
            if is_written and is_local(ctx.params[_KEYS[key]] or _LOCAL[0]):
                option = f"--{key.replace('_', '-')}"
                raise Failure(f"{option}: a store has no keys; leave it out, or name a server", MISUSED)


class Group(TyperGroup):
    """A group of commands, which prints its help if none of them is named."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401 - as above
        """Return the parameters of the group."""
        return _without_types(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - as above
        """Return the words after the group's own options."""
        if not args and not ctx.resilient_parsing:
            with redirect_stdout(sys.stderr):
                print(ctx.get_help(), end="")
            ctx.exit(MISUSED)
        return super().parse_args(ctx, args)


def _without_types(parameters: Any) -> Any:  # noqa: ANN401 - parameters of that click
    """Hide the types of flags and lists in the help: typer 0.29 shows `<bool>` and `<list[str]>`."""
    for parameter in parameters:
        if getattr(parameter, "is_bool_flag", False) or parameter.nargs == -1:
            parameter.display_type_rich = lambda ctx: ""  # noqa: ARG005 - the name by which typer calls it
    return parameters


def is_local(url: str) -> bool:
    """Return whether a URL names a store that this process opens, not a server."""
    return url.lower().startswith(_LOCAL)


def failure_of(error: MemtraceError, *, local: bool, key: str | None, key_option: str) -> Failure:
    """Return the failure of a command for an error of its client.

    Args:
        error: The error.
        local: Whether the client opened a store, so that request ids mean nothing.
        key: The API key that was given to the command.
        key_option: The option for the API key.
    """
    message = str(error)
    if local:
        cause = error.__cause__ if isinstance(error, APIConnectionError) else None
        message = (cause and str(cause)) or error.message
    elif isinstance(error, AuthenticationError):
        is_given = bool(key or os.environ.get("MEMTRACE_API_KEY"))
        message = (
            f"{message}; check {key_option}"
            if is_given
            else f"the server requires an API key; give {key_option}, or set MEMTRACE_API_KEY"
        )
    is_misuse = isinstance(error, BadRequestError) and error.status_code in _INVALID
    return Failure(message, MISUSED if is_misuse else FAILED)
