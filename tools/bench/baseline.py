"""`python -m tools.bench.baseline PORT LOG`: the least that answers a deposit over HTTP, to measure a host against.

A plain ASGI callable on uvicorn with httptools and uvloop, as their authors ship them: balances in a dictionary and no
guest. It knows nothing of `host`, so that no change there changes what it costs.

    POST /accounts/NAME/deposit {"amount": N}
    POST /accounts/NAME/kept    {"amount": N}   the same, but what was asked is in LOG, and synced, before the reply
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import uvicorn

_balances: dict[str, int] = {}
_log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


async def app(scope: Any, receive: Any, send: Any) -> None:
    _, _, name, action = scope["path"].split("/")
    message = await receive()
    if action == "kept":
        os.write(_log, message["body"] + b"\n")
        os.fdatasync(_log)
    balance = _balances[name] = _balances.get(name, 0) + json.loads(message["body"])["amount"]
    body = json.dumps({"account": name, "balance": balance}, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(
        app, port=int(sys.argv[1]), http="httptools", loop="uvloop", lifespan="off", log_level="error", access_log=False
    )
