"""`tenure admin …`: what the operator of a host does with its tenants, their keys, and the key of all secrets."""

from __future__ import annotations

import sys

import click

from host.cli import settings
from host.cli.client import AdminClient
from host.cli.commands.keys import create_options, expires_at, show_keys, show_new_key
from host.cli.commands.quotas import quotas
from host.cli.console import confirm, counted, say, say_json, say_table

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_FIELDS = ("id", "status", "status_since", "created_at", "functions", "keys", "secrets")


@click.group("admin")
def admin() -> None:
    """For the operator of the host: tenants, their keys and quotas, the key of all secrets."""


@admin.group("tenants")
def tenants() -> None:
    """Create, suspend and delete tenants."""


@tenants.command("create")
@click.argument("tenant")
@json_option
def create(tenant: str, as_json: bool) -> None:
    """Create the tenant TENANT. It gets keys with `tenure admin keys create`."""
    made = AdminClient(settings.load()).create_tenant(tenant)
    if as_json:
        say_json(made)
        return
    say(f"Tenant '{made['id']}' is created.")
    say(f"Next, a key for its people: tenure admin keys create {made['id']} --name NAME", to=sys.stderr)


@tenants.command("list")
@json_option
def list_tenants(as_json: bool) -> None:
    """List the tenants of the host."""
    found = AdminClient(settings.load()).tenants()
    if as_json:
        say_json(found)
        return
    rows = [[one["id"], one["status"], str(one["functions"]), str(one["keys"]), one["created_at"]] for one in found]
    say_table(["TENANT", "STATUS", "FUNCTIONS", "KEYS", "CREATED"], rows)


@tenants.command("inspect")
@click.argument("tenant")
@json_option
def inspect(tenant: str, as_json: bool) -> None:
    """Show one TENANT."""
    shown = AdminClient(settings.load()).tenant(tenant)
    if as_json:
        say_json(shown)
        return
    for name in _FIELDS:
        say(f"{name.replace('_', ' '):<13} {shown[name]}")


@tenants.command("suspend")
@click.argument("tenant")
@click.option("--yes", is_flag=True, help="Do not ask.")
def suspend(tenant: str, yes: bool) -> None:
    """Let nothing of TENANT serve, and refuse its keys, until it is resumed."""
    confirm(f"Suspend '{tenant}'? Its functions answer 503 until you resume it.", yes)
    AdminClient(settings.load()).suspend_tenant(tenant)
    say(f"Tenant '{tenant}' is suspended. `tenure admin tenants resume {tenant}` ends that.")


@tenants.command("resume")
@click.argument("tenant")
def resume(tenant: str) -> None:
    """End the suspension of TENANT."""
    AdminClient(settings.load()).resume_tenant(tenant)
    say(f"Tenant '{tenant}' is active.")


@tenants.command("delete")
@click.argument("tenant")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(tenant: str, yes: bool) -> None:
    """Delete TENANT with its functions, all that its actors stored, its secrets and keys."""
    client = AdminClient(settings.load())
    shown = client.tenant(tenant)
    secrets, keys = counted(shown["secrets"], "secret"), counted(shown["keys"], "key")
    what = f"{counted(shown['functions'], 'function')}, all that its actors stored, {secrets} and {keys}"
    confirm(f"Delete tenant '{tenant}' for good, with {what}?", yes)
    client.delete_tenant(tenant)
    say(f"Tenant '{tenant}' is deleted.")


admin.add_command(quotas)


@admin.group("keys")
def keys() -> None:
    """API keys of any tenant."""


@keys.command("create")
@click.argument("tenant")
@create_options
@click.option("--operator", is_flag=True, help="An operator's key; TENANT has to be `default`.")
@json_option
def create_key(tenant: str, name: str, scope: str, expires_days: int | None, operator: bool, as_json: bool) -> None:
    """Create an API key of TENANT and print it, this once."""
    client = AdminClient(settings.load())
    role = "operator" if operator else "tenant"
    show_new_key(client.create_key(name, scope, expires_at(expires_days), tenant=tenant, role=role), as_json)


@keys.command("list")
@click.argument("tenant")
@json_option
def list_keys(tenant: str, as_json: bool) -> None:
    """List the API keys of TENANT."""
    show_keys(AdminClient(settings.load()).keys(tenant), as_json)


@keys.command("revoke")
@click.argument("tenant")
@click.argument("key_id", metavar="KEY_ID")
def revoke_key(tenant: str, key_id: str) -> None:
    """Revoke an API key of TENANT, by its id, at once."""
    AdminClient(settings.load()).revoke_key(key_id, tenant)
    say(f"Key {key_id} of '{tenant}' is revoked.")


@admin.group("secrets")
def secrets() -> None:
    """The key that all secrets of the host are encrypted with."""


@secrets.command("rotate")
@json_option
def rotate(as_json: bool) -> None:
    """Encrypt all secrets with a new key, and forget the old one."""
    sealed = AdminClient(settings.load()).rotate_secrets_key()["sealed"]
    if as_json:
        say_json({"sealed": sealed})
    else:
        say(f"Encrypted with a new key: {counted(sealed, 'secret')}. The old key opens nothing any more.")
        say("Keep a copy of DATA/secrets.key: it is in no backup.", to=sys.stderr)


COMMANDS = (admin,)
