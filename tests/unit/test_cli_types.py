"""`tenure types`: what it writes is what TypeScript's own compiler, in its strict mode, makes of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from host.cli import envtypes, project, scaffold
from host.cli.main import cli
from host.model.manifest import parse_manifest
from tests.conftest import FUNCTIONS
from tests.unit.test_cli_host import use_installed_packages

MANIFEST = """\
name = "shop"
main = "src/index.ts"
compatibility_date = "2026-05-01"

[env_vars]
GREETING = "hello"

[[actors]]
binding = "CART"
type = "Cart"

[[actors]]
binding = "LEDGER"   # another function's
type = "Ledger"

[[secrets]]
binding = "STRIPE"
name = "stripe-key"
"""
INDEX = """\
import { StatefulActor } from "@tenure/edge-runtime";

export class Cart extends StatefulActor<Env> {
  async add(item: string, count = 1): Promise<number> {
    await this.env.LEDGER.idFromName("all").fetch("http://ledger/");
    return count + item.length;
  }
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const count: number = await env.CART.idFromName("a").add("x", 2);
    const greeting: string = env.GREETING;
    const key: string | undefined = await env.SECRETS.get("STRIPE");
    return Response.json([count, greeting, key, request.url]);
  },
};
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    with scaffold.write(tmp_path / "shop", "shop", actor=True, language="ts"):
        pass
    folder = tmp_path / "shop"
    (folder / "telnyx.toml").write_text(MANIFEST)
    (folder / "src" / "index.ts").write_text(INDEX)
    (folder / "src" / "counter.ts").unlink()
    use_installed_packages(folder)
    return folder


def complaints(folder: Path) -> str:
    """What `tsc --strict` says of the project, its declaration file included."""
    compiler = str(FUNCTIONS / "account" / "node_modules" / "typescript" / "bin" / "tsc")
    command = [compiler, "--noEmit", "--strict", "--skipLibCheck", "false"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100).stdout


def tenure(*arguments: str) -> int:
    try:
        cli.main(list(arguments), standalone_mode=False)
    except Exception as error:
        return int(getattr(error, "exit_code", 99))
    return 0


def test_a_new_project_of_either_kind_is_clean(tmp_path: Path) -> None:
    for actor in (True, False):
        with scaffold.write(tmp_path / str(actor), "fresh", actor=actor, language="ts"):
            pass
        use_installed_packages(tmp_path / str(actor))
        assert (tmp_path / str(actor) / "src" / envtypes.FILE_NAME).is_file()
        assert complaints(tmp_path / str(actor)) == ""
        assert envtypes.is_current(project.load(tmp_path / str(actor)))


def test_env_has_the_types_that_the_manifest_says(shop: Path) -> None:
    assert "Cart" not in (shop / "src" / envtypes.FILE_NAME).read_text(), "the file is still the template's"
    assert tenure("types", "--project", str(shop), "--check") == 1
    assert tenure("types", "--project", str(shop)) == 0
    assert tenure("types", "--project", str(shop), "--check") == 0
    assert complaints(shop) == ""


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ('.add("x", 2)', ".add(2)", "Argument of type 'number'"),
        ('.add("x", 2)', ".remove()", "Property 'remove' does not exist"),
        ("const count: number", "const count: string", "Type 'number' is not assignable to type 'string'"),
        ('get("STRIPE")', 'get("STRIPPE")', "not assignable to parameter of type '\"STRIPE\"'"),
        ("env.GREETING", "env.GREETINGS", "GREETINGS"),
        ("const greeting: string", "const greeting: number", "Type 'string' is not assignable to type 'number'"),
    ],
)
def test_a_mistake_is_found_by_the_compiler(shop: Path, right: str, wrong: str, words: str) -> None:
    tenure("types", "--project", str(shop))
    (shop / "src" / "index.ts").write_text(INDEX.replace(right, wrong))
    assert words in complaints(shop)


def test_a_project_with_an_env_of_its_own_keeps_it(shop: Path) -> None:
    tenure("types", "--project", str(shop))
    own = "interface Env { CART: { idFromName(name: string): { add(item: string): Promise<number> } } }\n"
    text = (
        own
        + "export default { async fetch(_: Request, env: Env) {"
        + ' return Response.json(await env.CART.idFromName("a").add("x")); } };\n'
    )
    (shop / "src" / "index.ts").write_text(text)
    assert complaints(shop) == ""


def test_a_javascript_entry_gives_namespaces_without_methods() -> None:
    manifest, _ = parse_manifest(MANIFEST.replace("index.ts", "index.js"))
    text = envtypes.render(manifest, "tenure.toml", "@tenure/edge-runtime")
    assert "readonly CART: ActorNamespace;" in text
    assert "import(" not in text
