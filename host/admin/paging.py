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
from typing import Annotated, TypeVar

from msgspec import Meta

from host.admin.contract import Input
from host.model.errors import UsageError

PAGE_DEFAULT, PAGE_MAX = 50, 500
"""Entries of one page."""

Place = tuple[str | float, ...]
T = TypeVar("T")


class Paging(Input):
    """The query of a list."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX, description="Entries of the page.")] = PAGE_DEFAULT
    cursor: Annotated[str, Meta(description="`next` of the page before; none for the first page.")] = ""


def page_of(
    query: Paging, items: Sequence[T], place: Callable[[T], Place], *, reverse: bool = False
) -> tuple[list[T], str | None]:
    """(one page, the cursor of the next or None) of `items`, which are in order of `place`. Raises UsageError."""
    after = read_cursor(query.cursor) if query.cursor else None
    if after is not None:
        try:
            items = [item for item in items if (place(item) < after if reverse else place(item) > after)]
        except TypeError:  # a cursor of another list
            raise wrong_cursor() from None
    page = list(items[: query.limit])
    return page, cursor_of(place(page[-1])) if len(items) > query.limit else None


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
