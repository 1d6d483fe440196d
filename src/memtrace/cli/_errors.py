"""What a command says when it fails, and the code that it ends with.

An error of the SDK names fields of requests; a person wrote options. This is where one becomes the other.
"""

from __future__ import annotations

import os
import re
from typing import Any

from typer import TyperException
from typer.core import TyperCommand

from memtrace.cli._flags import without_types
from memtrace.exceptions import APIConnectionError, AuthenticationError, BadRequestError, MemtraceError

FAILED = 1
MISUSED = 2
_LOCAL = ("sqlite:", "postgresql:", "postgres:")
_NOT_WRITTEN_SO = {0, 400}  # statuses of requests that break the contract: never sent, or refused
_INDEX = re.compile(r"\A(?:\.|\[)\d+\]?")  # of a value of an option that may be given several times
_FIELD = re.compile(r"(\w+)((?:[.\[]\S*)?): ")
# The options for a key, each with the parameter that says what it is for.
_KEYS = {"key": "url", "from_key": "source", "to_key": "target"}
# The parameters of commands that are not called as the field of a request that they fill.
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
    """A command failed, or cannot be run as it was written.

    Args:
        message: What went wrong, and what to do about it.
        exit_code: 1 when the command failed, 2 when it was not run.
    """

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Command(TyperCommand):
    """A command whose errors name its own options and arguments."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401 - the context of the click that is inside typer
        """Return the parameters of the command."""
        return without_types(super().get_params(ctx))

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
        """Refuse a key that is written for a store; one in a variable may be for other commands."""
        for key in _KEYS.keys() & ctx.params.keys():
            is_written = ctx.get_parameter_source(key).name == "COMMANDLINE"
            if is_written and is_local(ctx.params[_KEYS[key]] or _LOCAL[0]):
                option = f"--{key.replace('_', '-')}"
                raise Failure(f"{option}: a store asks for no key; leave it out, or name its server", MISUSED)


def is_local(url: str) -> bool:
    """Return whether a URL names a store that is opened here, not a server."""
    return url.lower().startswith(_LOCAL)


def failure_of(error: MemtraceError, *, local: bool, key: str | None, key_option: str) -> Failure:
    """Return what a command says about an error of its client.

    Args:
        error: The error.
        local: Whether the client opened a store; there is no request whose id would help.
        key: The API key that the command was given.
        key_option: The option that takes the API key.
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
            else f"the server wants an API key; give {key_option}, or set MEMTRACE_API_KEY"
        )
    is_misuse = isinstance(error, BadRequestError) and error.status_code in _NOT_WRITTEN_SO
    return Failure(message, MISUSED if is_misuse else FAILED)
