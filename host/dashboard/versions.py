"""What a function was shipped as, and which of its versions served when; letting others serve, removing old ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from quart import Blueprint, render_template, request, url_for

from host.dashboard import questions
from host.dashboard.api import ApiError
from host.dashboard.forms import asked, confirmed, done, whole
from host.dashboard.guard import Reply, ask
from host.model.keep import Keep

blueprint = Blueprint("versions", __name__)

SPLIT_MAX = 8
"""Versions that a form offers for a split, as many as may serve at once."""
WEIGHT_MAX = 10_000
WEIGHT = "weight-"
"""What the name of a field begins with that holds a version's weight."""
KEEP = {"keep": str(Keep().versions), "days": f"{Keep().days:g}"}
"""What stays when old versions are removed, unless the form says otherwise."""


@blueprint.get("/functions/<ref>/versions")
async def versions(ref: str) -> str:
    return await _page(ref)


@blueprint.post("/functions/<ref>/versions/<int:number>/deploy")
async def deploy(ref: str, number: int) -> Reply:
    found = await ask("GET", f"/functions/{ref}")
    back = url_for("versions.versions", ref=ref)
    word = questions.deploy_word(found, number)
    if (page := await confirmed(questions.deploy(found, number), word, back)) is not None:
        return page
    deployed = await ask("POST", f"/functions/{ref}/deployments", body={"version": number})
    return done(f"Version {deployed['version']} of {found['name']} serves now.", back, *deployed["warnings"])


@blueprint.post("/functions/<ref>/split")
async def split(ref: str) -> Reply | tuple[str, int]:
    """The question says what each gets, so it is a page: no dialog knows that before the form is sent."""
    written = {name: text.strip() for name, text in (await request.form).items() if name.startswith(WEIGHT)}
    found = await ask("GET", f"/functions/{ref}")
    back = url_for("versions.versions", ref=ref)
    try:
        shares = _shares(written)
        if (page := await confirmed(questions.split(found["name"], shares), "Split", back)) is not None:
            return page
        deployed = await ask("POST", f"/functions/{ref}/deployments", body={"split": shares})
    except ApiError as error:
        if error.status not in (400, 404, 409, 422):
            raise
        return await _page(ref, error.sentences, written), error.status
    serving = [str(part["version"]) for part in deployed["split"]]
    what = f"Versions {', '.join(serving)}" if serving else f"Version {deployed['version']}"
    sentence = f"{what} of {found['name']} {'serve' if serving else 'serves'} now."
    return done(sentence, back, *deployed["warnings"])


@blueprint.get("/functions/<ref>/versions/prune")
async def prunable(ref: str) -> str:
    """What would go."""
    return await _prune_page(ref, {**KEEP, **asked(*KEEP)})


@blueprint.post("/functions/<ref>/versions/prune")
async def prune(ref: str) -> Reply:
    written = await _written()
    rule = _rule(written)
    found, would = await asyncio.gather(ask("GET", f"/functions/{ref}"), _pruned(ref, rule, dry_run=True))
    numbers, back = [one["number"] for one in would["pruned"]], url_for("versions.versions", ref=ref)
    if numbers:
        question = questions.prune(found["name"], numbers)
        again = url_for("versions.prunable", ref=ref, **written)
        if (page := await confirmed(question, "Remove", again)) is not None:
            return page
        would = await _pruned(ref, rule, dry_run=False)
    gone = ", ".join(str(one["number"]) for one in would["pruned"])
    return done(f"Removed of {found['name']}: {gone}." if gone else "No version had to go.", back)


@blueprint.post("/functions/<ref>/versions/rule")
async def set_rule(ref: str) -> Reply:
    """By which old versions go by themselves from now on."""
    written = await _written()
    rule, back = _rule(written), url_for("versions.prunable", ref=ref, **written)
    found = await ask("GET", f"/functions/{ref}")
    if (page := await confirmed(questions.rule(found["name"], rule), "Set the rule", back)) is not None:
        return page
    await ask("PUT", f"/functions/{ref}/versions/rule", body=rule)
    return done(f"Old versions of {found['name']} go by themselves now.", back)


@blueprint.post("/functions/<ref>/versions/rule/clear")
async def clear_rule(ref: str) -> Reply:
    await ask("DELETE", f"/functions/{ref}/versions/rule")
    return done(f"{ref} has no rule of its own any more.", url_for("versions.prunable", ref=ref))


async def _page(ref: str, errors: Iterable[str] = (), written: Mapping[str, str] | None = None) -> str:
    query = asked("cursor")
    found, page, deployments = await asyncio.gather(
        ask("GET", f"/functions/{ref}"),
        ask("GET", f"/functions/{ref}/versions", query),
        ask("GET", f"/functions/{ref}/deployments", {"limit": 20}),
    )
    weights = _weights(found, page["versions"])
    for name, text in (written or {}).items():
        weights[name.removeprefix(WEIGHT)] = text
    return await render_template(
        "versions.html",
        function=found,
        page=page,
        deployments=deployments["deployments"],
        weights=weights,
        total=sum(part["weight"] for part in found["split"]),
        errors=errors,
    )


def _weights(function: Mapping[str, Any], listed: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What the form for a split begins with, by version: those that serve with their weights, and the newest others."""
    serving = function["split"] or [{"version": function["version"], "weight": 100}]
    weights = {str(part["version"]): str(part["weight"]) for part in serving if part["version"] is not None}
    for one in listed:
        if one["status"] == "deploy_ok" and len(weights) < SPLIT_MAX:
            weights.setdefault(str(one["number"]), "")
    return dict(sorted(weights.items(), key=lambda item: -int(item[0])))


def _shares(written: Mapping[str, str]) -> list[dict[str, int]]:
    """Raises ApiError, as the admin API would."""
    given = {name.removeprefix(WEIGHT): text for name, text in written.items() if text not in ("", "0")}
    if not given:
        raise ApiError(400, ["Give at least one version a weight."])
    shares = []
    for name, text in given.items():
        version, weight = whole(name), whole(text)
        if version is None or weight is None or weight > WEIGHT_MAX:
            sentence = f"A weight is a whole number from 1 to {WEIGHT_MAX:,}. Leave empty what is to get nothing."
            raise ApiError(400, [sentence])
        shares.append({"version": version, "weight": weight})
    return shares


async def _prune_page(ref: str, written: Mapping[str, str]) -> str:
    rule = _rule(written)
    found, would = await asyncio.gather(ask("GET", f"/functions/{ref}"), _pruned(ref, rule, dry_run=True))
    return await render_template("prune.html", function=found, would=would, written=written, rule=rule)


async def _written() -> dict[str, Any]:
    form = await request.form
    return {name: form.get(name, default) for name, default in KEEP.items()}


def _rule(written: Mapping[str, str]) -> dict[str, float]:
    """Raises ApiError."""
    try:
        return {"keep": int(written["keep"]), "days": float(written["days"])}
    except ValueError:
        raise ApiError(400, ["Say with numbers how many versions stay, and for how many days."]) from None


async def _pruned(ref: str, rule: Mapping[str, float], *, dry_run: bool) -> Any:
    return await ask("POST", f"/functions/{ref}/versions/prune", body={**rule, "dry_run": dry_run})
