"""What serves: an immutable version of a function, and the deployment that names the version in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from host.model.limits import LIMITS, Limits
from host.model.manifest import Manifest
from host.model.quotas import DEFAULTS, Quotas


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One immutable version. Compared by identity: the registry holds exactly one object for each.

    `actor_types` are the actor classes that the component exports; `artifact` is the path of the compiled component.
    `secrets` are the values of the manifest's [[secrets]] by binding, of those that have one; they are in no log.
    `mark` is `mark_of` it. `quotas` are the tenant's; its manifest may lower some of them for the function.
    """

    tenant: str
    function_id: str
    function_name: str
    number: int
    digest: str
    manifest: Manifest
    artifact: str
    has_handler: bool
    actor_types: tuple[str, ...]
    sdk: str = ""
    limits: Limits = field(default=LIMITS)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    mark: int = 0
    quotas: Quotas = field(default=DEFAULTS)


def mark_of(function_id: str, number: int) -> int:
    """A version in eight bytes, never 0: what a worker notes while a guest of the version runs."""
    return int.from_bytes(blake2b(f"{function_id} {number}".encode(), digest_size=8).digest(), "little") or 1
