"""`completion`: what a shell has to run so that Tab completes `tenure`. Click makes it of the commands themselves."""

from __future__ import annotations

import sys

import click
from click.shell_completion import ShellComplete, get_completion_class

from host.cli.console import say

WHERE = {
    "bash": 'eval "$(tenure completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(tenure completion zsh)"   # in ~/.zshrc, after compinit',
    "fish": "tenure completion fish > ~/.config/fish/completions/tenure.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(sorted(WHERE)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    eval "$(tenure completion bash)"   # in ~/.bashrc
    eval "$(tenure completion zsh)"    # in ~/.zshrc, after compinit
    tenure completion fish > ~/.config/fish/completions/tenure.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    # not the class's own `source`, which for bash asks the bash on the PATH for its version first
    say(ShellComplete.source(kind(context.find_root().command, {}, "tenure", "_TENURE_COMPLETE")))
    if sys.stdout.isatty():
        say(f"This is for your shell: {WHERE[shell]}", to=sys.stderr)


COMMANDS = (completion,)
