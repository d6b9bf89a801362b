"""Project folders as the CLI finds, reads, edits and packs them. Real files; no host and no Node needed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from host.cli import building, project, scaffold
from host.cli.console import CliError
from host.model.manifest import parse_manifest

FUNCTION_ID = "0198c2c5-8a00-7000-8000-000000000001"

# what the quick start's page tells people to paste
PAGE = """\
name = "account"
main = "src/index.ts"
compatibility_date = "2026-05-01"

[[actors]]
binding = "ACCOUNT"   # the property on env — your handle
type    = "Account"   # the class to instantiate per account name

[edge_compute]
func_id = "..."       # created by new-func; leave as-is
func_name = "account"
"""


def manifest(folder: Path, text: str = PAGE, name: str = "telnyx.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_project_is_found_from_any_folder_inside_it(tmp_path: Path) -> None:
    manifest(tmp_path)
    inside = tmp_path / "src" / "deep"
    inside.mkdir(parents=True)
    assert project.load(inside).root == tmp_path.resolve()


def test_a_folder_without_a_manifest_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"is not a project: there is no tenure\.toml or telnyx\.toml"):
        project.load(tmp_path)


def test_tenure_toml_wins_over_telnyx_toml_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest(tmp_path)
    manifest(tmp_path, PAGE.replace('"account"', '"other"'), "tenure.toml")
    assert project.load(tmp_path).manifest.name == "other"
    assert "tenure.toml is used" in capsys.readouterr().err


def test_every_mistake_of_a_manifest_is_named(tmp_path: Path) -> None:
    manifest(tmp_path, 'name = "UPPER CASE"\n[[actors]]\nbinding = "A"\n')
    with pytest.raises(CliError) as caught:
        project.load(tmp_path)
    assert len(caught.value.more) == 3  # name, main, type of the actor


def test_the_page_pasted_whole_is_a_project_that_lost_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest(tmp_path)
    loaded = project.load(tmp_path)
    assert (loaded.function_id, loaded.lost_id, loaded.function_name) == ("", True, "account")
    assert capsys.readouterr().err == ""


def test_writing_the_id_changes_nothing_else_of_the_manifest(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    project.write_function(path, FUNCTION_ID, "account")
    assert path.read_text(encoding="utf-8") == PAGE.replace('"..."', f'"{FUNCTION_ID}"')
    assert project.load(tmp_path).function_id == FUNCTION_ID


def test_writing_the_id_makes_the_table_when_there_is_none(tmp_path: Path) -> None:
    text = PAGE.partition("\n[edge_compute]")[0]
    path = manifest(tmp_path, text)
    project.write_function(path, FUNCTION_ID, "account")
    assert path.read_text(encoding="utf-8").startswith(text)
    read, warnings = parse_manifest(path.read_text(encoding="utf-8"))
    assert (read.func_id, read.func_name, read.actors[0].type, warnings) == (FUNCTION_ID, "account", "Account", ())


def test_a_bundle_holds_the_manifest_and_the_component_and_is_the_same_every_time(tmp_path: Path) -> None:
    manifest(tmp_path)
    component = tmp_path / "component.wasm"
    component.write_bytes(b"\0asm" + bytes(1000))
    work = project.load(tmp_path)
    work.build_folder.mkdir(parents=True)
    built = building.Built(component, 1004, 0.1)
    bundle = building.write_bundle(work, built, FUNCTION_ID)
    first = bundle.read_bytes()
    with zipfile.ZipFile(bundle) as archive:
        assert archive.namelist() == ["tenure.toml", "component.wasm"]
        assert archive.read("component.wasm") == component.read_bytes()
        assert parse_manifest(archive.read("tenure.toml").decode())[0].func_id == FUNCTION_ID
    assert building.write_bundle(work, built, FUNCTION_ID).read_bytes() == first
    assert 'func_id = "..."' in work.path.read_text(encoding="utf-8"), "making a bundle leaves the manifest alone"


@pytest.fixture
def tarball(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / scaffold.SDK_TARBALL
    path.write_bytes(b"packed")
    monkeypatch.setattr(scaffold, "sdk_tarball", lambda: path)
    return path


@pytest.mark.parametrize("language", scaffold.LANGUAGES)
@pytest.mark.parametrize("actor", [True, False])
def test_a_scaffold_is_a_project_with_the_sdk_beside_it(
    tmp_path: Path, tarball: Path, actor: bool, language: str
) -> None:
    target = tmp_path / "work" / "shop"
    with scaffold.write(target, "shop", actor=actor, language=language):
        assert not target.exists(), "the folder appears whole or not at all"
    loaded = project.load(target)
    assert loaded.manifest.name == "shop"
    assert [entry.type for entry in loaded.manifest.actors] == (["Counter"] if actor else [])
    assert (target / loaded.manifest.main).is_file()
    assert (target / "vendor" / scaffold.SDK_TARBALL).read_bytes() == b"packed"
    assert "node_modules/" in (target / ".gitignore").read_text()
    assert (target / "tsconfig.json").exists() == (language == "ts")
    assert "__NAME__" not in "".join(
        path.read_text() for path in target.rglob("*") if path.suffix != ".tgz" and path.is_file()
    )
    assert [path.name for path in target.parent.iterdir()] == ["shop"]


def test_a_scaffold_that_fails_leaves_nothing_behind(tmp_path: Path, tarball: Path) -> None:
    target = tmp_path / "work" / "shop"
    with pytest.raises(KeyError), scaffold.write(target, "shop", actor=True, language="ts"):
        raise KeyError
    assert list(target.parent.iterdir()) == []


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CliError, match="not empty"):
        scaffold.check_target(tmp_path)


@pytest.mark.parametrize("name", ["", "Shop", "1shop", "shop-", "a_b", "../shop", "a" * 41])
def test_a_name_that_cannot_be_a_host_name_is_refused(name: str) -> None:
    with pytest.raises(CliError, match="cannot be a function's name"):
        scaffold.check_name(name)


def node(folder: Path, script: str) -> None:
    folder.mkdir()
    (folder / "node").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "node").chmod(0o755)


def test_a_missing_node_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CliError, match=r"`node` is not on the PATH") as caught:
        building.find_node()
    assert "Install Node.js 20" in caught.value.hint


def test_an_old_node_is_named_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node(tmp_path / "bin", "echo v18.19.0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(CliError, match=r"Node\.js v18\.19\.0 is too old"):
        building.find_node()


def test_packages_that_are_not_installed_are_named_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(CliError, match="are not installed") as caught:
        building.find_sdk(tmp_path)
    assert caught.value.hint == f"Run `npm install` in {tmp_path}."


@pytest.fixture
def buildable(tmp_path: Path) -> project.Project:
    """A project whose SDK is installed as far as the CLI looks: the compiler itself is put in by each test."""
    manifest(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "index.ts").touch()
    sdk = tmp_path / "node_modules" / "@tenure" / "edge-runtime"
    sdk.mkdir(parents=True)
    (sdk / "build.mjs").touch()
    return project.load(tmp_path)


def test_a_build_reports_its_steps_and_warnings(
    buildable: project.Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = """
    [ "$1" = --version ] && echo v20.1.0 && exit
    echo '{"step":"bundle","ms":12,"bytes":2000}'
    echo 'warning: src/index.ts:1:1: unused' >&2
    printf wasm > "$5"
    """
    node(buildable.root / "bin", script)
    monkeypatch.setenv("PATH", f"{buildable.root / 'bin'}:/usr/bin:/bin")
    steps: list[str] = []
    built = building.build(buildable, steps.append)
    assert (built.byte_count, built.component.read_text(), steps) == (4, "wasm", ["bundle 2.0 kB"])
    assert capsys.readouterr().err == "Warning: src/index.ts:1:1: unused\n"


def test_a_failed_build_shows_what_the_compiler_said(
    buildable: project.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
    [ "$1" = --version ] && echo v20.1.0 && exit
    echo '{"error":["src/index.ts:3:7: Expected ;"]}'
    echo 'src/index.ts:3:7: Expected ;' >&2
    exit 1
    """
    node(buildable.root / "bin", script)
    monkeypatch.setenv("PATH", f"{buildable.root / 'bin'}:/usr/bin:/bin")
    with pytest.raises(CliError, match="The build failed") as caught:
        building.build(buildable)
    assert caught.value.more == ("src/index.ts:3:7: Expected ;",)
