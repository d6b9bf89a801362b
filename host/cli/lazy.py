"""A group of commands whose modules are imported when a command is called, so that `tenure serve` is there sooner.

Each module of `commands/` has its commands in `COMMANDS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """`modules`: the module below `host.cli.commands` that each command is in, by the command's name. `loaded` is
    given a command with its name before anybody else sees it.
    """

    def __init__(
        self,
        *args: Any,
        modules: Mapping[str, str],
        loaded: Callable[[str, click.Command], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._modules = modules
        self._loaded = loaded

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and (module := self._modules.get(cmd_name)) is not None:
            for command in importlib.import_module(f"host.cli.commands.{module}").COMMANDS:
                self.add_command(command)
                self._loaded(str(command.name), command)
        return self.commands.get(cmd_name)
