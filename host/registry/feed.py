"""The changes of `serving` as bytes, for the replicas in other processes. How they travel is not known here.

Shape: [label, [[version, weight], ...], reason, [domain, ...]]; a version is an object of its fields, its manifest as
it is stored.
Both ends are the same program, so there are no other forms to read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import orjson

from host.model.limits import Limits
from host.model.manifest import manifest_from_json, manifest_to_json
from host.model.quotas import Quotas, to_json
from host.model.version import Version
from host.registry.serving import Change
from host.registry.split import Part


def encode(changes: Iterable[Change]) -> bytes:
    return orjson.dumps([[one.label, _parts(one.parts), one.reason, one.domains] for one in changes])


def decode(data: bytes) -> list[Change]:
    """Raises ValueError, KeyError or TypeError for what `encode` did not write."""
    return [
        Change(label, tuple(Part(_version(version), weight) for version, weight in parts), reason, tuple(domains))
        for label, parts, reason, domains in orjson.loads(data)
    ]


def _parts(parts: Iterable[Part]) -> list[Any]:
    return [[_plain(part.version), part.weight] for part in parts]


def _plain(version: Version) -> dict[str, Any]:
    plain = {field.name: getattr(version, field.name) for field in dataclasses.fields(version)}
    limits, quotas = dataclasses.asdict(version.limits), to_json(version.quotas)
    return {**plain, "manifest": manifest_to_json(version.manifest), "limits": limits, "quotas": quotas}


def _version(plain: dict[str, Any]) -> Version:
    return Version(
        **{
            **plain,
            "manifest": manifest_from_json(plain["manifest"]),
            "limits": Limits(**plain["limits"]),
            "quotas": Quotas(**plain["quotas"]),
            "actor_types": tuple(plain["actor_types"]),
        }
    )
