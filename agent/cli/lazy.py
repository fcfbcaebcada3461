"""A group of commands that knows their names and one-line helps, and imports a command only when it is invoked.

The one module that knows typer's own copy of click (typer 0.29 no longer depends on click).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from gettext import gettext

import typer
from typer._click.core import Command, Context
from typer._click.exceptions import ClickException
from typer._click.formatting import HelpFormatter
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

UsageProblem = ClickException
"""What typer raises for a command line it cannot use; `show` writes it to standard error."""

HELP_NAMES = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True, slots=True)
class Entry:
    """One command of a lazy group. `load` gives its function or its typer app, importing what it must."""

    name: str
    help: str | Callable[[], str]
    """one line; a function where even that must be imported"""
    load: Callable[[], Callable[..., object] | typer.Typer]
    section: str = "Commands"
    plugin: bool = False
    """keeps the exit codes of the Monitoring Plugins guidelines: whatever goes wrong is 3, UNKNOWN"""


def attribute(where: str) -> Callable[[], Callable[..., object] | typer.Typer]:
    """A loader of `module:attribute`."""

    def load() -> Callable[..., object] | typer.Typer:
        module, _, name = where.partition(":")
        found: Callable[..., object] | typer.Typer = getattr(importlib.import_module(module), name)
        return found

    return load


def group_of(entries: Callable[[], Sequence[Entry]]) -> type[TyperGroup]:
    """A class of typer groups with these commands; for `typer.Typer(cls=...)`."""

    class LazyGroup(TyperGroup):
        """Lists from the entries; loads in resolve_command, which only an invocation and completion call."""

        def __init__(self, **settings: object) -> None:
            super().__init__(**settings)  # type: ignore[arg-type] # typer's own, handed through
            self._entries = {entry.name: entry for entry in entries()}
            self.commands = {name: _stand_in(entry) for name, entry in self._entries.items()}

        def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
            name, command, rest = super().resolve_command(ctx, args)
            return name, command if name is None else _loaded(self._entries[name]), rest

        def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002 # typer's signature
            for section in dict.fromkeys(entry.section for entry in self._entries.values()):
                rows = [(entry.name, _help(entry)) for entry in self._entries.values() if entry.section == section]
                with formatter.section(gettext(section)):
                    formatter.write_dl(rows)

    return LazyGroup


def _help(entry: Entry) -> str:
    return entry.help if isinstance(entry.help, str) else entry.help()


def _stand_in(entry: Entry) -> Command:
    return TyperCommand(entry.name, help=entry.help if isinstance(entry.help, str) else None)


def _loaded(entry: Entry) -> Command:
    found = entry.load()
    if isinstance(found, typer.Typer):
        found.rich_markup_mode = None
        found.info.context_settings = HELP_NAMES
        command: Command = get_group(found)
    else:
        app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP_NAMES)
        app.command(entry.name)(found)
        command = get_command(app)
    command.name = entry.name
    return command
