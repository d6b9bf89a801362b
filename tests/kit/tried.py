"""What schemathesis loads (SCHEMATHESIS_HOOKS) to try the admin API of a host that a test has furnished.

No route is left out. Three things would keep it from what routes do, and are put right here:

- an `Idempotency-Key` that is tried twice is answered with a refusal, so each gets a number of its own;
- ids and names that nobody has are all 404, so every other request that does not delete is about what TENURE_TRIED
  names: a JSON object, by the name of the parameter;
- `follow=true` has no end, so it is not sent.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from typing import Any

import schemathesis

KNOWN: dict[str, str] = json.loads(os.environ.get("TENURE_TRIED", "{}"))
KEY = "Idempotency-Key"

_turns = itertools.count()


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    turn = next(_turns)
    for name, value in (case.headers or {}).items():
        if name == KEY and isinstance(value, str) and re.fullmatch(r"[!-~]{1,200}", value):
            case.headers[name] = f"{value}{turn}"
    query = case.query or {}
    if str(query.get("follow")).lower() == "true":
        del query["follow"]
    if case.method != "DELETE" and turn % 2:
        for given in (case.path_parameters or {}, query):
            given.update({name: KNOWN[name] for name in given if name in KNOWN})


@schemathesis.serializer("application/zip", "application/x-ndjson")  # type: ignore[untyped-decorator,unused-ignore]
def raw(_context: Any, value: Any) -> bytes:
    """Bodies that are no JSON are sent as they are."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")
