"""The host's side of the WIT world: one file per interface, each function a C callback that knows its signature.

`TABLE` maps interface -> function name -> callback. The linker grants exactly these, so a component that imports
anything else does not link.
"""

from host.sandbox.imports import actors, clock, config, crypto, log, outbound, outcome, random, storage, timers, web
from host.sandbox.imports.callback import TABLE

__all__ = [
    "TABLE",
    "actors",
    "clock",
    "config",
    "crypto",
    "log",
    "outbound",
    "outcome",
    "random",
    "storage",
    "timers",
    "web",
]
