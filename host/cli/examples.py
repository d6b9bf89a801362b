"""An example for the help of each command that has none in its own text. A test holds that every command has one, and
that each of them is one that the command takes.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

EXAMPLES = (
    "tenure serve --data /var/lib/tenure --public-url https://fns.example.com",
    "tenure dev --listen 127.0.0.1:9000",
    "tenure auth api-key set --endpoint https://admin.example.com",
    "tenure auth api-key status",
    "tenure auth api-key logout",
    "tenure auth api-key create --name ci --scope deploy --expires-days 90",
    "tenure auth api-key list --json",
    "tenure auth api-key revoke 3f1c0a9be27d",
    "tenure auth status",
    "tenure auth logout",
    "tenure new-func --actor --name account",
    "tenure build --project functions/account",
    "tenure ship --project functions/account",
    "tenure types --check",
    "tenure list --json",
    "tenure inspect account",
    "tenure release account",
    "tenure delete-func account --yes",
    "tenure status",
    "tenure openapi",
    "tenure revisions list account",
    "tenure deployments account",
    "tenure rollback account 3",
    "tenure domains list account",
    "tenure logs account --tail --type error",
    "tenure metrics account --minutes 10",
    "tenure usage account --days 3",
    "tenure secrets add stripe-key < stripe-key.txt",
    "tenure secrets list",
    "tenure secrets delete stripe-key --yes",
    "tenure actors types",
    "tenure alarms list --dead",
    "tenure alarms retry Reminder alice",
    "tenure admin tenants create acme",
    "tenure admin tenants list",
    "tenure admin tenants inspect acme",
    "tenure admin tenants suspend acme --yes",
    "tenure admin tenants resume acme",
    "tenure admin tenants delete acme --yes",
    "tenure admin keys create acme --name alice",
    "tenure admin keys list acme",
    "tenure admin keys revoke acme 3f1c0a9be27d",
    "tenure admin quotas show acme",
    "tenure admin secrets rotate",
    "tenure data reshard 8 --data /var/lib/tenure",
)


def show_in_help(name: str, command: click.Command) -> None:
    """Give the command, or each of those in the group, its example. `name` comes after `tenure`."""
    for path, one in commands(command, (name,)):
        words = f"{' '.join(('tenure', *path))} "
        if found := [example for example in EXAMPLES if f"{example} ".startswith(words)]:
            one.epilog = "\b\nExample:\n  " + found[0]


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands below this one, or itself if it is no group, with the words that name them."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        if (one := command.get_command(context, name)) is not None:
            yield from commands(one, (*path, name))
