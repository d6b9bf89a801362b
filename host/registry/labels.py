"""Making the id of a new function, whose beginning is part of its host name.

A label has the first 40 bits of the id's time, so all ids of the same quarter of a second share it: two tenants that
create functions of one name at one moment would get one label. When a label is taken, the id's time is moved on to
the next label's, as RFC 9562 allows; ids stay unique and sort by creation to within that step.
"""

from __future__ import annotations

import uuid
from collections.abc import Container

from host.model.errors import Unavailable
from host.model.ids import host_label, new_function_id

_TRIES = 1_000
_STEP = 1 << (128 - 40)


def free_label(name: str, taken: Container[str]) -> tuple[str, str]:
    """(function id, label) with a label that is not `taken`. Raises Unavailable after a bounded number of tries."""
    first = uuid.UUID(new_function_id()).int
    for step in range(_TRIES):
        function_id = str(uuid.UUID(int=first + step * _STEP))
        label = host_label(name, function_id)
        if label not in taken:
            return function_id, label
    raise Unavailable("No free host name was found for this function. Try again in a few minutes.")
