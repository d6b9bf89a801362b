"""The folder that `new-func` makes: templates with the function's name put in, and the SDK beside them.

A TypeScript project gets the types of its `env` as well (`envtypes`). The SDK is a tarball in `vendor/`, so that a new
project needs no registry to have ours. A wheel carries it in `host/cli/sdk/`; a checkout takes the one that
`make setup` packed.

`write` fills a folder of its own and moves it into place at the end: a failure half way leaves nothing behind.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from host.cli import envtypes, project
from host.cli.console import CliError
from host.model.ids import FUNCTION_NAME

SDK_TARBALL = "tenure-edge-runtime-0.1.0.tgz"
LANGUAGES = ("ts", "js")
_HERE = Path(__file__).parent
_TEMPLATES = _HERE / "templates"
_NAME_MARK = "__NAME__"


def check_name(name: str) -> None:
    if not FUNCTION_NAME.fullmatch(name):
        raise CliError(
            f"'{name}' cannot be a function's name.",
            "Use 1 to 40 lower-case letters, digits and '-', beginning with a letter and not ending with '-'.",
        )


def check_target(target: Path) -> None:
    """Raises CliError unless the folder can be made: absent, or there and empty."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise CliError(f"{target} exists and is not a folder.", "Choose another name or another place.")
    if target.is_dir() and any(target.iterdir()):
        raise CliError(f"The folder {target} is not empty.", "Choose another name, or empty it first.")


def sdk_tarball() -> Path:
    """The packed SDK: a checkout's own, so that it is never older than the sources, else the wheel's."""
    checkout = _HERE.parent.parent / "guest_sdk" / "typescript"
    folder = checkout / "dist" if checkout.is_dir() else _HERE / "sdk"
    if (tarball := folder / SDK_TARBALL).is_file():
        return tarball
    raise CliError(
        f"The SDK's package {SDK_TARBALL} is missing from this installation.", "Run `make setup` in Tenure's checkout."
    )


@contextmanager
def write(target: Path, name: str, *, actor: bool, language: str) -> Iterator[Path]:
    """Fill a temporary folder beside `target` and yield it; on leaving without an error it becomes `target`."""
    tarball = sdk_tarball()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            folder = Path(scratch) / target.name
            for template in ("common", f"common-{language}", f"{'actor' if actor else 'handler'}-{language}"):
                _copy(_TEMPLATES / template, folder, name)
            if language == "ts":
                envtypes.write(project.load(folder))
            (folder / "vendor").mkdir()
            shutil.copyfile(tarball, folder / "vendor" / SDK_TARBALL)
            yield folder
            if target.is_dir():
                target.rmdir()
            folder.rename(target)
    except OSError as error:
        raise CliError(f"Cannot make {target}: {error.strerror}.") from None


def _copy(template: Path, folder: Path, name: str) -> None:
    """Copy a template's files, naming the function; `gitignore` gets its dot here, so that git and wheels keep it."""
    for source in sorted(path for path in template.rglob("*") if path.is_file()):
        relative = source.relative_to(template)
        destination = folder / relative.with_name(".gitignore" if source.name == "gitignore" else source.name)
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_text(source.read_text(encoding="utf-8").replace(_NAME_MARK, name), encoding="utf-8")
