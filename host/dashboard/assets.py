"""The scripts, the styles and the icon of the pages, read once: a reply from memory opens no file that a browser which
goes away in the middle would leave open."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from quart import Quart, abort, request
from quart.wrappers import Response

from host.dashboard.mount import PREFIX

ENDPOINT = "static"
_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    content: bytes
    content_type: str
    mark: str
    """Names the content: what a browser asks with, and part of the address."""


def install(app: Quart) -> None:
    """Serves the assets, and gives the templates `asset(name)`: the address of one, another for each content of it, so
    that browsers may keep it for ever."""
    assets = {path.name: _read(path) for path in sorted(_FOLDER.iterdir())}

    async def serve(filename: str) -> Response:
        asset = assets.get(filename)
        if asset is None:
            abort(404)
        response = Response(asset.content, content_type=asset.content_type)
        response.set_etag(asset.mark)
        await response.make_conditional(request)
        return response

    app.add_url_rule(f"{PREFIX}/static/<filename>", ENDPOINT, serve)
    app.jinja_env.globals["asset"] = lambda name: f"{PREFIX}/static/{name}?v={assets[name].mark}"


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(content, _TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:10])
