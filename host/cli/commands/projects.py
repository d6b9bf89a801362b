"""Commands about a project folder: `new-func`, `build`, `ship`."""

from __future__ import annotations

from pathlib import Path

import click

from host.cli import building, console, project, scaffold, settings, shipping
from host.cli.client import AdminClient, AdminError, Json
from host.cli.console import CliError, say, say_json, size

project_option = click.option(
    "--project", "folder", type=click.Path(path_type=Path), default=Path("."), help="Folder of the project."
)


@click.command("new-func")
@click.option("--name", required=True, help="Name of the function, and of the folder.")
@click.option("--actor", is_flag=True, help="With a sample stateful actor.")
@click.option("-l", "--language", type=click.Choice(scaffold.LANGUAGES), default="ts", show_default=True)
def new_func(name: str, actor: bool, language: str) -> None:
    """Make a project in ./NAME and register its function with the host."""
    scaffold.check_name(name)
    target = Path.cwd() / name
    scaffold.check_target(target)
    client = AdminClient(settings.load())
    created: Json | None = None
    try:
        with scaffold.write(target, name, actor=actor, language=language) as folder:
            created = shipping.register(client, name, actor)
            project.write_function(folder / "telnyx.toml", created["id"], created["name"])
    except BaseException:
        if created is not None:
            _take_back(client, created)
        raise
    say(f"Function '{name}' is registered ({created['id']}), its project is in ./{name}.")
    say(f"Next: cd {name} && npm install && tenure ship")


def _take_back(client: AdminClient, created: Json) -> None:
    """A registration whose folder could not be made is undone, so that the same command can be run again."""
    try:
        client.delete_function(created["id"])
    except CliError:
        console.warn(f"function '{created['name']}' stays registered; remove it with `tenure delete-func`.")


@click.command("build")
@project_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def build(folder: Path, as_json: bool) -> None:
    """Compile the project to a WebAssembly component in .tenure/build/."""
    work = project.load(folder)
    with console.step("Building") as tell:
        built = building.build(work, tell)
        tell(size(built.byte_count))
    if as_json:
        say_json({"component": str(built.component), "bytes": built.byte_count, "seconds": round(built.seconds, 3)})
    else:
        say(str(built.component))


@click.command("ship")
@project_option
@click.option("--bundle", type=click.Path(path_type=Path), help="Ship this zip instead of building.")
@click.option("--no-deploy", is_flag=True, help="Leave what serves as it is; `tenure deploy` lets the version serve.")
def ship(folder: Path, bundle: Path | None, no_deploy: bool) -> None:
    """Build, upload and deploy the project."""
    work = project.load(folder)
    if bundle is not None:
        shipping.check_bundle(bundle)
    client = AdminClient(settings.load())
    client.whoami()  # a wrong key or address is said before the build, not after it
    built = None
    if bundle is None:
        with console.step("Building") as tell:
            built = building.build(work, tell)
            tell(size(built.byte_count))
    function = shipping.ensure_registered(client, work)
    if built is not None:
        bundle = building.write_bundle(work, built, function["id"])
    assert bundle is not None
    try:
        version = shipping.ship(client, function["id"], bundle, deploy=not no_deploy)
    except AdminError as error:
        if not error.more:
            error = AdminError(error.status, error.code, "The host refused the bundle:", more=(error.message,))
        raise error from None
    if no_deploy:
        name, number = function["name"], version["number"]
        say(f"✅ Version {number} of '{name}' is ready. Let it serve: tenure deploy {name} v{number}")
        return
    say(f"✅ Func '{function['name']}' is now deployed!")
    say(function["url"])


COMMANDS = (new_func, build, ship)
