"""Which environment variables other processes of the host get: those that programs need to run, and none that might be
a secret of the operator's. What a process never knew, nobody finds in its memory.
"""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = frozenset(("HOME", "LANG", "LANGUAGE", "PATH", "TMPDIR", "TZ"))
_BEGINNINGS = ("LC_", "LD_", "MALLOC_", "PYTHON", "TENURE_")
_NEVER = frozenset(("TENURE_API_KEY", "TENURE_SECRETS_KEY"))


def kept(environ: Mapping[str, str]) -> dict[str, str]:
    """What a process that guests run in, or whose input comes from strangers, may know of `environ`."""
    return {
        name: value
        for name, value in environ.items()
        if name not in _NEVER and (name in _NAMES or name.startswith(_BEGINNINGS))
    }
