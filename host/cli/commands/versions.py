"""Commands about what was shipped before: `revisions`, `deployments`, `deploy`, `rollback`."""

from __future__ import annotations

import json
import re
import sys

import click

from host.cli import console, settings
from host.cli.client import AdminClient, AdminError, Json
from host.cli.console import CliError, confirm, say, say_json, say_table, size
from host.model.keep import DAYS_MAX, VERSIONS_MAX, Keep

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_DIGEST_CHARS = 12
_REVISION = re.compile(r"v?([0-9]{1,9})")
_WEIGHTED = re.compile(r"v?([0-9]{1,9})=([0-9]{1,5})")


@click.group("revisions")
def revisions() -> None:
    """The versions of a function."""


@revisions.command("list")
@click.argument("function")
@json_option
def list_revisions(function: str, as_json: bool) -> None:
    """List the versions of FUNCTION, the newest first."""
    client = AdminClient(settings.load())
    versions = client.versions(function)
    if as_json:
        say_json(versions)
    elif not versions:
        say("Nothing was shipped to it yet. Use `tenure ship`.", to=sys.stderr)
    else:
        rows = [
            [
                str(one["number"]),
                _state(one),
                one["created_at"],
                one["by"],
                size(one["size"]),
                one["digest"][:_DIGEST_CHARS],
            ]
            for one in versions
        ]
        say_table(["REV", "STATUS", "SHIPPED", "BY", "SIZE", "DIGEST"], rows)


@revisions.command("inspect")
@click.argument("function")
@click.argument("rev", required=False)
@json_option
def inspect_revision(function: str, rev: str | None, as_json: bool) -> None:
    """Show version REV of FUNCTION with its settings; without REV the one that serves.

    Example: tenure revisions inspect account v3
    """
    client = AdminClient(settings.load())
    number = _serving(client, function) if rev is None else _number(rev)
    shown = client.version(function, number)
    if as_json:
        say_json(shown)
        return
    for name, lines in _facts(shown).items():
        for place, line in enumerate(lines):
            say(f"{name if not place else '':<10} {line}")


@revisions.command("prune")
@click.argument("function")
@click.option("--keep", type=click.IntRange(0), default=10, show_default=True, help="The newest N stay.")
@click.option(
    "--days", type=click.FloatRange(0), default=7, show_default=True, help="What served within so many days stays."
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def prune_revisions(function: str, keep: int, days: float, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove old versions of FUNCTION.

    What serves stays, and what served just before: a rollback goes back to it.

    Example: tenure revisions prune account --keep 5 --days 30 --dry-run
    """
    client = AdminClient(settings.load())
    pruned = client.prune(function, keep, days, dry_run=True)
    if pruned["pruned"] and not dry_run:
        confirm(f"Remove {_listed(pruned).lower()} of '{function}'?", yes)
        pruned = client.prune(function, keep, days, dry_run=False)
    if as_json:
        say_json(pruned)
    elif not pruned["pruned"]:
        say(f"No version of '{function}' has to go.")
    else:
        done = "would go" if dry_run else "removed"
        say(f"{_listed(pruned)} of '{function}' {done}: {size(pruned['freed'])}.")


@revisions.command("rule")
@click.argument("function")
@click.option("--keep", type=click.IntRange(1, VERSIONS_MAX), help="The newest N stay (10).")
@click.option("--days", type=click.FloatRange(0, DAYS_MAX), help="What served within so many days stays (7).")
@click.option("--clear", is_flag=True, help="Have the host's rule again, if it has one.")
@json_option
def rule(function: str, keep: int | None, days: float | None, clear: bool, as_json: bool) -> None:
    """Show by which rule old versions of FUNCTION go by themselves, or give it one of its own.

    What `revisions prune` never removes stays here, too.

    Example: tenure revisions rule account --keep 20 --days 30
    """
    given = keep is not None or days is not None
    if clear and given:
        raise click.UsageError("Name what is to stay, or --clear, not both.")
    client = AdminClient(settings.load())
    if given:
        default = Keep()
        shown = client.set_rule(
            function, default.versions if keep is None else keep, default.days if days is None else days
        )
    else:
        if clear:
            client.clear_rule(function)
        shown = client.function(function)
    if as_json:
        say_json(shown["rule"])
    else:
        say(f"Old versions of '{shown['name']}' {_fate(shown['rule'])}.")


def _fate(rule: Json | None) -> str:
    if rule is None:
        return "stay until you prune them, or there are more than your quota lets be"
    return f"go by themselves. What stays: {rule_words(rule)}"


def rule_words(rule: Json) -> str:
    """What stays, and who said so."""
    return f"{Keep(rule['keep'], rule['days'])} ({'its own rule' if rule['set'] else 'the rule of the host'})"


@click.command("deployments")
@click.argument("function")
@json_option
def deployments(function: str, as_json: bool) -> None:
    """Show which versions of FUNCTION served when, the newest first."""
    found = AdminClient(settings.load()).deployments(function)
    if as_json:
        say_json(found)
    elif not found:
        say("Nothing was deployed yet. Use `tenure ship`.", to=sys.stderr)
    else:
        rows = [[_what(one), one["since"], one["until"] or "serves", one["by"]] for one in found]
        say_table(["REV", "SINCE", "UNTIL", "BY"], rows)


@click.command("deploy")
@click.argument("function")
@click.argument("rev", required=False)
@click.option("--split", metavar="vN=W,...", help="Several versions and their weights, such as v3=90,v4=10.")
@json_option
def deploy(function: str, rev: str | None, split: str | None, as_json: bool) -> None:
    """Let version REV of FUNCTION serve, or several, each by its weight.

    Example: tenure deploy account --split v3=90,v4=10
    """
    if (rev is None) == (split is None):
        raise click.UsageError("Name a version, such as v4, or a split, such as --split v3=90,v4=10.")
    client = AdminClient(settings.load())
    deployed = _deploy(client, function, _weights(split) if split is not None else {_number(rev or ""): 1})
    if as_json:
        say_json(deployed)
    elif deployed["split"]:
        say(f"✅ Versions {_what(deployed)} of '{function}' serve now.")
    else:
        say(f"✅ Version {deployed['version']} of '{function}' serves now.")


@click.command("rollback")
@click.argument("function")
@click.argument("rev", required=False)
@json_option
def rollback(function: str, rev: str | None, as_json: bool) -> None:
    """Let version REV of FUNCTION serve; without REV the one that served before, alone."""
    number = None if rev is None else _number(rev)
    client = AdminClient(settings.load())
    past = client.deployments(function)
    if number is None:
        number = _before(function, past)
    deployed = _deploy(client, function, {number: 1})
    if as_json:
        say_json(deployed)
    elif past and past[0]["since"] == deployed["since"]:
        say(f"Version {number} of '{function}' serves already, since {deployed['since']}.")
    else:
        say(f"✅ Version {number} of '{function}' serves now.")


def _serving(client: AdminClient, function: str) -> int:
    """The version that serves, of a split the one with the most weight."""
    number = client.function(function)["version"]
    if number is None:
        raise CliError(f"No version of '{function}' serves.", f"Name one of `tenure revisions list {function}`.")
    return int(number)


def _facts(version: Json) -> dict[str, list[str]]:
    """What is there to say of a version, as lines below their title. Values of variables are JSON: one line each."""
    limits = [
        f"{one['name']} {'none' if one['limit'] is None else format(one['limit'], ',.10g')}"
        + (" (manifest)" if one["set"] else "")
        for one in version["limits"]
    ]
    return {
        "version": [str(version["number"])],
        "status": [version["status"]],
        "shipped": [f"{version['created_at']} by {version['by'] or 'unknown'}"],
        "size": [size(version["size"])],
        "digest": [version["digest"]],
        "sdk": [version["sdk"]] if version["sdk"] else [],
        "actors": [f"{one['binding']} → {one['type']}" for one in version["actors"]],
        "env vars": [
            f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in version["env_vars"].items()
        ],
        "secrets": [f"{one['binding']} → {one['name']}" for one in version["secrets"]],
        "limits": limits,
        "outbound": version["outbound"],
        "domains": version["domains"],
        "warnings": version["warnings"],
        "errors": version["errors"],
    }


def _deploy(client: AdminClient, function: str, weights: dict[int, int]) -> Json:
    try:
        deployed = client.split(function, weights) if len(weights) > 1 else client.deploy(function, next(iter(weights)))
    except AdminError as error:
        hint = f"See its versions with `tenure revisions list {function}`." if error.status in (404, 409) else ""
        raise AdminError(error.status, error.code, error.message, hint, more=error.more) from None
    for warning in deployed["warnings"]:
        console.warn(str(warning))
    return deployed


def _weights(split: str) -> dict[int, int]:
    """Version -> weight."""
    weights: dict[int, int] = {}
    for part in split.split(","):
        found = _WEIGHTED.fullmatch(part.strip())
        if found is None or int(found[1]) in weights:
            raise click.UsageError(f"{split!r} is not a split: write each version once, such as v3=90,v4=10.")
        weights[int(found[1])] = int(found[2])
    return weights


def _what(deployment: Json) -> str:
    """`4`, or `v3=90,v4=10` of a split."""
    split = ",".join(f"v{one['version']}={one['weight']}" for one in deployment["split"])
    return split or str(deployment["version"])


def _listed(pruned: Json) -> str:
    numbers = [one["number"] for one in pruned["pruned"]]
    return f"version{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}".capitalize()


def _number(rev: str) -> int:
    found = _REVISION.fullmatch(rev)
    if found is None:
        raise click.UsageError(f"{rev!r} is not a version: write its number, such as 3.")
    return int(found[1])


def _before(function: str, past: list[Json]) -> int:
    """The last version that served alone before what does."""
    for one in past[1:]:
        if not one["split"] and (past[0]["split"] or one["version"] != past[0]["version"]):
            return int(one["version"])
    raise CliError(
        f"No other version of '{function}' has served before.",
        f"Name one: `tenure revisions list {function}` shows them, `tenure rollback {function} REV` deploys one.",
    )


def _state(version: Json) -> str:
    if not version["serving"]:
        return str(version["status"])
    return "serves" if version["share"] == 1 else f"serves {version['share']:.0%}"


COMMANDS = (revisions, deployments, deploy, rollback)
