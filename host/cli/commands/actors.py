"""Commands about actors: `actors types|list|inspect|get|put|delete|export|import|invoke|fetch`.

Values and arguments are JSON on the command line as they are on the wire, so 5 is a number and '"5"' a text.
"""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import click

from host.cli import console, exports, settings
from host.cli.client import AdminClient, Json
from host.cli.console import CliError, counted, say, say_json, say_table, size

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
tenant_option = click.option("--tenant", help="For the operator: of this tenant.")

_SHOWN_MAX = 10_000
_KEYS_SHOWN_MAX = 1_000
_VALUE_CHARS = 100


@click.group("actors")
def actors() -> None:
    """Your actors: what they hold, and calling them.

    \b
    tenure actors list Account --prefix al
    tenure actors invoke Account alice deposit 5
    tenure actors put Account alice balance 50
    """


@actors.command("types")
@json_option
def types(as_json: bool) -> None:
    """List actor types, with how many actors each has."""
    found = _client().actor_types()
    if as_json:
        say_json(found)
    elif not found:
        say("There is no actor type. Ship a function that exports an actor class.", to=sys.stderr)
    else:
        rows = [
            [one["type"], one["function"] or "-", f"{one['actors']}{'+' if one['more'] else ''}", size(one["size"])]
            for one in found
        ]
        say_table(["TYPE", "FUNCTION", "ACTORS", "SIZE"], rows)


@actors.command("list")
@click.argument("actor_type", metavar="TYPE", required=False)
@click.option("--prefix", default="", help="Those whose name begins so.")
@json_option
def list_actors(actor_type: str | None, prefix: str, as_json: bool) -> None:
    """List actors, or those of TYPE.

    \b
    tenure actors list
    tenure actors list Account --prefix al
    """
    if prefix and actor_type is None:
        raise click.UsageError("With --prefix, name the TYPE.")
    show_actors(actor_type, prefix, as_json)


def show_actors(actor_type: str | None, prefix: str, as_json: bool) -> None:
    pages = _client().actors(actor_type, prefix)
    found = list(islice(pages, _SHOWN_MAX))
    if next(pages, None) is not None:
        console.warn(f"there are more than {len(found)}; narrow it down with TYPE and --prefix, or ask the admin API.")
    if as_json:
        say_json(found)
    elif not found:
        say("There is no such actor.", to=sys.stderr)
    else:
        rows = [
            [one["type"], one["name"], size(one["size"]), one["created_at"] or "-", one["last_used_at"] or "-",
             one["alarm_at"] or "-"]
            for one in found
        ]  # fmt: skip
        say_table(["TYPE", "NAME", "SIZE", "CREATED", "LAST USED", "ALARM"], rows)


@actors.command("inspect")
@click.argument("actor_type", metavar="TYPE")
@click.argument("name")
@click.option("--prefix", default="", help="Show keys that begin so.")
@json_option
def inspect(actor_type: str, name: str, prefix: str, as_json: bool) -> None:
    """Show an actor and what it stores.

    \b
    tenure actors inspect Account alice
    """
    client = _client()
    found = client.actor(actor_type, name)
    pairs = _pairs(client, actor_type, name, prefix)
    if as_json:
        say_json({**found, "keys": pairs})
        return
    rows = [["size", size(found["size"])], ["created", found["created_at"] or "-"]]
    rows += [["last used", found["last_used_at"] or "-"], ["alarm", found["alarm_at"] or "-"]]
    if dead := found["dead_alarm"]:
        rows.append(["dead alarm", f"{dead['error']}: {dead['message']}"])
    state = "a turn runs" if found["busy"] else "in memory" if found["in_memory"] else "not in memory"
    rows.append(["now", state + (f", {counted(found['waiting'], 'call')} waiting" if found["waiting"] else "")])
    say_table([found["type"], found["name"]], rows)
    if pairs:
        say()
        say_table(["KEY", "VALUE"], [[pair["key"], _short(pair)] for pair in pairs])


def show_state(actor_type: str, name: str, prefix: str, as_json: bool) -> None:
    client = _client()
    client.actor(actor_type, name)  # one that is not there is an error, not an empty table
    pairs = _pairs(client, actor_type, name, prefix)
    if as_json:
        say_json(pairs)
    elif not pairs:
        say("It stores nothing there.", to=sys.stderr)
    else:
        say_table(["KEY", "VALUE"], [[pair["key"], _short(pair)] for pair in pairs])


def _pairs(client: AdminClient, actor_type: str, name: str, prefix: str) -> list[Json]:
    pages = client.actor_keys(actor_type, name, prefix)
    pairs = list(islice(pages, _KEYS_SHOWN_MAX))
    if next(pages, None) is not None:
        console.warn(f"it has more than {len(pairs)} keys; narrow it down with --prefix, or export it.")
    return pairs


@actors.command("get")
@click.argument("actor_type", metavar="TYPE")
@click.argument("name")
@click.argument("key")
def get(actor_type: str, name: str, key: str) -> None:
    """Print the value of a key, as JSON.

    \b
    tenure actors get Account alice balance
    """
    pair = _client().actor_key(actor_type, name, key)
    say_json(pair["value"] if "value" in pair else pair["text"])


@actors.command("put", context_settings={"ignore_unknown_options": True})
@click.argument("actor_type", metavar="TYPE")
@click.argument("name")
@click.argument("key")
@click.argument("value")
def put(actor_type: str, name: str, key: str, value: str) -> None:
    """Store a value, which is JSON, or - for stdin. The actor starts afresh with it.

    \b
    tenure actors put Account alice balance 50
    tenure actors put Account alice owner '"Alice"'
    """
    text = sys.stdin.read() if value == "-" else value
    _parsed(text, "The value")
    _client().put_actor_key(actor_type, name, key, text)
    say(f"{actor_type} '{name}' has the key '{key}'.")


@actors.command("delete")
@click.argument("actor_type", metavar="TYPE")
@click.argument("name")
@click.argument("key", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(actor_type: str, name: str, key: str | None, yes: bool) -> None:
    """Delete a KEY of an actor, or the actor with everything.

    \b
    tenure actors delete Account alice balance
    tenure actors delete Account alice --yes
    """
    client = _client()
    if key is not None:
        client.delete_actor_key(actor_type, name, key)
        say(f"{actor_type} '{name}' has no key '{key}' any more.")
        return
    found = client.actor(actor_type, name)
    console.confirm(f"Delete {actor_type} '{name}' with all it has stored ({size(found['size'])})?", yes)
    client.delete_actor(actor_type, name)
    say(f"{actor_type} '{name}' is deleted.")


@actors.command("export")
@click.argument("actor_type", metavar="[TYPE", required=False)
@click.argument("name", metavar="NAME]", required=False)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write (stdout).")
@tenant_option
def export(actor_type: str | None, name: str | None, out: Path | None, tenant: str | None) -> None:
    """Write an actor, or all of the tenant, as lines of JSON.

    \b
    tenure actors export Account alice > alice.jsonl
    tenure actors export --out everything.jsonl
    """
    if (actor_type is None) != (name is None):
        raise click.UsageError("Write TYPE and NAME of one actor, or neither for all of them.")
    if tenant is not None and name is not None:
        raise click.UsageError("With --tenant all its actors are exported.")
    written = 0

    def told(count: int) -> None:
        nonlocal written
        written += count

    with console.step("Exporting") as tell:
        exports.save(_client().export_actors(actor_type, name, tenant), out, sys.stdout.buffer, told)
        tell(size(written))


@actors.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--replace", is_flag=True, help="Replace actors that are there.")
@tenant_option
@json_option
def import_(file: Path, replace: bool, tenant: str | None, as_json: bool) -> None:
    """Write the actors of an export. Without --replace nothing is written if one of them is there.

    \b
    tenure actors import alice.jsonl --replace
    """
    done = import_file(_client(), file, tenant, replace=replace)
    if as_json:
        say_json({"imported": done})
    else:
        say(f"{counted(done, 'actor')} imported.")


def import_file(client: AdminClient, file: Path, tenant: str | None, *, replace: bool) -> int:
    """How many actors of an export were written. Raises CliError."""
    with console.step("Reading") as tell:
        count = 0
        for piece in exports.pieces(file):  # all of it first: what is cut short or in the way changes nothing
            count += int(client.import_actors(piece, tenant, replace=replace, check=True)["imported"])
        tell(counted(count, "actor"))
    with console.step("Importing") as tell:
        done = 0
        for piece in exports.pieces(file):
            done += int(client.import_actors(piece, tenant, replace=replace)["imported"])
            tell(counted(done, "actor"))
    return done


@actors.command("invoke", context_settings={"ignore_unknown_options": True})
@click.argument("actor_type", metavar="TYPE")
@click.argument("name")
@click.argument("method")
@click.argument("arguments", metavar="[ARGUMENT]...", nargs=-1)
def invoke(actor_type: str, name: str, method: str, arguments: tuple[str, ...]) -> None:
    """Call a method. Arguments are JSON, and so is the result.

    \b
    tenure actors invoke Account alice deposit 5
    tenure actors invoke Board main post '"hello"' '{"pinned": true}'
    """
    parsed = [_parsed(text, f"Argument {number}") for number, text in enumerate(arguments, 1)]
    say_json(_client().invoke_actor(actor_type, name, method, parsed))


@actors.command("fetch")
@click.argument("actor_type", metavar="TYPE")
@click.argument("name")
@click.argument("path")
@click.option("-X", "--method", help="Method of the request (GET, with --body POST).")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Header of the request.")
@click.option("-d", "--body", help="Body of the request, - for stdin.")
@json_option
def fetch(
    actor_type: str, name: str, path: str, method: str | None, headers: tuple[str, ...], body: str | None, as_json: bool
) -> None:
    """Send a request to an actor's fetch, and print the body of its reply.

    \b
    tenure actors fetch Account alice /statement
    tenure actors fetch Board main /posts -d '{"text": "hello"}' -H 'content-type: application/json'
    """
    pairs = [line.partition(":") for line in headers]
    if any(not colon for _, colon, _ in pairs):
        raise click.UsageError("Write a header as 'NAME: VALUE'.")
    sent: Json = {"method": method or ("GET" if body is None else "POST"), "path": path}
    sent["headers"] = {header.strip(): value.strip() for header, _, value in pairs}
    sent["body"] = sys.stdin.read() if body == "-" else body or ""
    reply = _client().fetch_actor(actor_type, name, sent)
    if as_json:
        say_json(reply)
        return
    say(f"HTTP {reply['status']}", to=sys.stderr)
    if reply["base64"]:
        import base64

        sys.stdout.buffer.write(base64.b64decode(reply["body"]))
    elif reply["body"]:
        say(reply["body"])


def _client() -> AdminClient:
    return AdminClient(settings.load())


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise CliError(
            f"{what} is not JSON: {text[:80]}", "Write a text with quotes inside the shell's: '\"like this\"'."
        ) from None


def _short(pair: Json) -> str:
    text = json.dumps(pair["value"], ensure_ascii=False) if "value" in pair else pair["text"]
    flat = " ".join(text.split())
    return flat if len(flat) <= _VALUE_CHARS else flat[: _VALUE_CHARS - 1] + "…"
