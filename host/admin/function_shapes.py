"""What replies about functions, their versions, deployments and host names look like; see `shapes`."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from host.admin.shapes import By, Count, Digest, Next, Size, Time
from host.model.keep import DAYS_MAX, VERSIONS_MAX
from host.registry.deployments import WEIGHT_MAX
from host.registry.records import FunctionStatus, VersionStatus


class ActorBinding(TypedDict):
    binding: str
    type: str


class SecretBinding(TypedDict):
    """What `env.SECRETS.get` is asked for, and the secret that it gives; never a value."""

    binding: str
    name: str


class LimitInEffect(TypedDict):
    """A key of [limits] as it counts for the version now: of one call, or a quota of all the function does together."""

    name: str
    limit: Annotated[float | None, Meta(description="null: none but what the host can do.")]
    set: Annotated[bool, Meta(description="The manifest lowers it.")]


class Share(TypedDict):
    """A version, and its weight among those that serve."""

    version: Annotated[int, Meta(ge=1)]
    weight: Annotated[int, Meta(ge=1, le=WEIGHT_MAX)]


Split = Annotated[list[Share], Meta(description="All versions that serve, if there are several; else empty.")]


class Rule(TypedDict):
    """What stays of a function's versions; the others go by themselves. `set`: for this function, not by the host."""

    keep: Annotated[int, Meta(ge=1, le=VERSIONS_MAX, description="The newest so many.")]
    days: Annotated[float, Meta(ge=0, le=DAYS_MAX, description="And what served within so many days.")]
    set: bool


class Function(TypedDict):
    """A function with what serves: `version`, `actors`, `size`, `digest` and `sdk` are those of the serving version, of
    several of the one with the most weight.
    """

    id: str
    name: str
    status: Annotated[FunctionStatus, Meta(description="How the last ship ended.")]
    url: str
    actor: Annotated[bool, Meta(description="Whether the project was made for an actor.")]
    created_at: Time
    deployed_at: Annotated[Time | None, Meta(description="Since when the version serves.")]
    version: int | None
    split: Split
    versions: Annotated[Count, Meta(description="How many are kept.")]
    rule: Annotated[Rule | None, Meta(description="By which old versions go by themselves; null: by none.")]
    actors: list[ActorBinding]
    size: Size | None
    digest: Digest | None
    sdk: Annotated[str | None, Meta(description="What built it, such as typescript/0.1.0.")]
    errors: Annotated[list[str], Meta(description="Why the last ship failed.")]
    unavailable: Annotated[str | None, Meta(description="Why a deployed function does not answer just now.")]
    quarantined: Annotated[bool, Meta(description="Refused with 503, because workers crashed while it ran.")]


class FunctionPage(TypedDict):
    functions: list[Function]
    next: Next


class Version(TypedDict):
    """An immutable version of a function; what is known once it is compiled is empty while it is `compiling`."""

    function_id: str
    number: int
    status: VersionStatus
    created_at: Time
    by: By
    actors: list[ActorBinding]
    actor_types: Annotated[list[str], Meta(description="Classes that the component exports.")]
    handler: Annotated[bool, Meta(description="Whether it has a `fetch` handler.")]
    size: Size
    digest: Digest
    sdk: str
    env_vars: Annotated[dict[str, str], Meta(description="Of the manifest, with their values, which are no secret.")]
    secrets: list[SecretBinding]
    limits: list[LimitInEffect]
    outbound: Annotated[list[str], Meta(description="Hosts that `fetch` may go to, such as *.example.org.")]
    domains: Annotated[list[str], Meta(description="Host names that it claims in [[domains]].")]
    warnings: list[str]
    errors: list[str]


class ListedVersion(TypedDict):
    number: int
    status: VersionStatus
    created_at: Time
    by: By
    digest: Digest
    size: Size
    serving: bool
    share: Annotated[float, Meta(description="How much of what comes to the function is its own.", ge=0, le=1)]


class VersionPage(TypedDict):
    versions: list[ListedVersion]
    next: Next


class PrunedVersion(TypedDict):
    number: int
    status: VersionStatus
    created_at: Time
    size: Size


class KeptVersion(TypedDict):
    number: int
    why: str


class Pruned(TypedDict):
    """`freed`: bytes of the components that no version has any more."""

    dry_run: bool
    pruned: list[PrunedVersion]
    kept: list[KeptVersion]
    freed: Size


class Deployment(TypedDict):
    """Which version served from when until when; `until` is null for the one that serves. Of a split `version` is the
    one with the most weight.
    """

    version: int
    split: Split
    since: Time
    until: Time | None
    by: By
    serving: bool


class Deployed(Deployment):
    """The deployment that serves now. `warnings`: what is allowed and probably not meant."""

    warnings: list[str]


class DeploymentPage(TypedDict):
    deployments: list[Deployment]
    next: Next


class TextRecord(TypedDict):
    """What DNS has to have."""

    name: str
    type: Literal["TXT"]
    value: str


class Domain(TypedDict):
    """A host name that a function claims in [[domains]]; it leads there once it is verified."""

    name: str
    verified: bool
    record: TextRecord
    claimed_at: Time
    verified_at: Time | None


class DomainPage(TypedDict):
    domains: list[Domain]
    next: Next
