"""The examples run on the same hosts as the tests of `tests/`: its fixtures, known here too."""

from tests.conftest import admin, host, serve_config, shared, shared_host, ship

__all__ = ["admin", "host", "serve_config", "shared", "shared_host", "ship"]
