"""Lists in pages: `?limit=` entries, and a cursor that says after which entry the next page begins.

A cursor names the last entry that was shown by what the list is in order of, so entries that come or go meanwhile shift
nothing. It is opaque to clients, and worth nothing to another tenant: what it is held against is the caller's own list.

Shape: URL-safe base64, without padding, of a JSON array.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from quart import request

from host.model.errors import UsageError

PAGE_DEFAULT, PAGE_MAX = 50, 500
"""Entries of one page."""

Place = tuple[str | float, ...]
T = TypeVar("T")


def page_query() -> tuple[int, str]:
    """(`limit`, `cursor`) of a list's page; the cursor is "" for the first one. Raises UsageError."""
    text = request.args.get("limit", str(PAGE_DEFAULT))
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= PAGE_MAX and len(text) < 9):
        raise UsageError(f'"limit" has to be a number from 1 to {PAGE_MAX}.')
    return int(text), request.args.get("cursor", "")


def page_of(items: Sequence[T], place: Callable[[T], Place], *, reverse: bool = False) -> tuple[list[T], str | None]:
    """(one page, the cursor of the next or None) of `items`, which are in order of `place`. Raises UsageError."""
    limit, cursor = page_query()
    after = read_cursor(cursor) if cursor else None
    if after is not None:
        try:
            items = [item for item in items if (place(item) < after if reverse else place(item) > after)]
        except TypeError:  # a cursor of another list
            raise wrong_cursor() from None
    page = list(items[:limit])
    return page, cursor_of(place(page[-1])) if len(items) > limit else None


def cursor_of(place: Place) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> Place:
    """Raises UsageError for what `cursor_of` did not make."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise wrong_cursor() from None
    if not isinstance(parts, list) or not all(isinstance(part, str | int | float) for part in parts):
        raise wrong_cursor()
    return tuple(parts)


def wrong_cursor() -> UsageError:
    return UsageError('The "cursor" is not one that this route gave as "next".')
