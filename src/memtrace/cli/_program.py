"""The program with all commands, which ends with 0, 1 or 2 and at most one line of error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any

import typer
from typer import TyperException

from memtrace import __version__
from memtrace.cli import _forget, _keys, _mcp, _memories, _move, _orgs, _serve, _stores, _ui
from memtrace.cli._errors import FAILED, Command, Group
from memtrace.cli._output import escape_unknown

program = typer.Typer(
    name="memtrace",
    cls=Group,
    help="Store, search and manage the memories of AI agents.",
    epilog=(
        "Exit codes: 0 if the command succeeded; 1 if it failed or found a fault; 2 if it was not run,"
        " because of a wrong option or because the named store or file does not exist."
    ),
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    _memories.remember, _memories.decide, _memories.recall, _memories.search, _memories.context,
    _memories.tail, _forget.forget, _memories.agents, _memories.sessions, _memories.stats, _mcp.mcp,
):  # fmt: skip
    program.command(cls=Command)(command)
program.command("export", cls=Command)(_move.export)
program.command("import", cls=Command)(_move.import_)
program.command("copy", cls=Command)(_move.copy)
program.command("serve", cls=Command)(_serve.serve)
program.command("ui", cls=Command)(_ui.ui)
program.command("audit", cls=Command)(_stores.audit)
program.command("check", cls=Command)(_stores.check)
program.command("vacuum", cls=Command)(_stores.vacuum)
program.command("backup", cls=Command)(_stores.backup)
program.command("restore", cls=Command)(_stores.restore)
program.add_typer(_orgs.commands, name="org")
program.add_typer(_keys.commands, name="key")


def run(arguments: Sequence[str] | None) -> None:
    """Run a command; see `memtrace.cli.main`."""
    escape_unknown()
    try:
        code = _built()(args=arguments, prog_name="memtrace", standalone_mode=False)
        sys.stdout.flush()  # the interpreter would report a failure as a traceback, with exit code 120
    except TyperException as error:
        # Pydantic puts this prefix before the message.
        message = error.format_message().replace("Value error, ", "")
        _fail(message.rstrip(".") + _hint(error), error.exit_code)
    except BrokenPipeError:  # as of `memtrace export | head`
        _flush_or_discard()
        sys.exit(FAILED)
    except OSError as error:
        is_of_stream = error.filename is None and error.strerror
        _fail(f"standard input or output: {error.strerror}" if is_of_stream else str(error), FAILED)
    except typer.Abort:
        _fail("aborted", FAILED)
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("memtrace"):
            raise
        package = error.name.partition(".")[0]
        _fail(f"{package} is not installed; run: pip install 'memtrace-sdk[server]'", FAILED)
    except ImportError as error:  # an error of the SDK that says what to install
        _fail(str(error), FAILED)
    else:
        if code:
            sys.exit(code)


@cache  # building takes half of a command's time, and tests run several commands in one process
def _built() -> Callable[..., Any]:
    return typer.main.get_command(program)


def _print_version(is_wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if is_wanted:
        typer.echo(f"memtrace {__version__}")
        raise typer.Exit


@program.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Store, search and manage the memories of AI agents."""


def _hint(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    if context is None:
        return ""
    takes_text = any(each.param_type_name == "argument" for each in context.command.params)
    word = str(getattr(error, "option_name", ""))
    if takes_text and word.startswith("-") and not word.startswith("--"):
        return f"; if a text begins with it, write -- before the text: {context.command_path} -- {word}…"
    return f"; see {context.command_path} --help"


def _flush_or_discard() -> None:
    """Write what is left of the output if that is possible; otherwise the interpreter would try it again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> None:
    _flush_or_discard()
    line = " ".join(message.split())
    print(f"memtrace: {line}", file=sys.stderr)
    sys.exit(code)
