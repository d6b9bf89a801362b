"""What is asked before something is done that one may regret: in a dialog if a script runs, on a page otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_AT_ONCE = "New requests go to it at once; those under way end where they are."


def deploy_word(function: Mapping[str, Any], number: int) -> str:
    if any(part["version"] == number for part in function["split"]):
        return "Serve alone"
    return "Roll back" if number < (function["version"] or 0) else "Deploy"


def deploy(function: Mapping[str, Any], number: int) -> str:
    word, name = deploy_word(function, number), function["name"]
    if word == "Serve alone":
        return f"End the split of {name} and let version {number} serve alone? {_AT_ONCE}"
    return f"{word} {name} to version {number}? {_AT_ONCE}"


def deploy_label(function: Mapping[str, Any], number: int) -> str:
    word = deploy_word(function, number)
    return f"{word}: version {number}" if word == "Serve alone" else f"{word} to version {number}"


def split(name: str, shares: Sequence[Mapping[str, int]]) -> str:
    if len(shares) == 1:
        return f"Let version {shares[0]['version']} of {name} serve alone? {_AT_ONCE}"
    total = sum(share["weight"] for share in shares)
    parts = [f"version {share['version']} gets {100 * share['weight'] / total:.3g} %" for share in shares]
    return f"Split what comes to {name}: {', '.join(parts)}? An actor changes its version when its turn has ended."


def prune(name: str, numbers: Sequence[int]) -> str:
    listed = ", ".join(map(str, numbers))
    return f"Remove version{'' if len(numbers) == 1 else 's'} {listed} of {name}? This cannot be undone."


def rule(name: str, kept: Mapping[str, float]) -> str:
    stay = f"the newest {kept['keep']:g}, and what served within {kept['days']:g} days"
    return f"Let old versions of {name} go by themselves? From now on all but {stay} are removed."


def delete_secret(name: str, used_by: Sequence[str]) -> str:
    whose = f" {', '.join(used_by)} will get none." if used_by else " No function that serves uses it."
    return f"Delete the secret {name}?{whose}"


def delete_backup(backup_id: str) -> str:
    return f"Delete the backup {backup_id}? This cannot be undone."


def delete_actor(named: Mapping[str, str]) -> str:
    return f"Delete {named['type']} “{named['name']}” with all it has stored? This cannot be undone."


def delete_key(named: Mapping[str, str]) -> str:
    return f"Delete the key “{named['key']}” of {named['type']} “{named['name']}”? This cannot be undone."


def retry_all(actor_type: str) -> str:
    return f"Retry every dead alarm of {actor_type}?"


def suspend(tenant: str) -> str:
    return f"Suspend {tenant}? Nothing of it serves then, and none of its keys does anything, until it is resumed."


def revoke_key(label: str, tenant: str) -> str:
    return f"Revoke the key “{label}” of {tenant}? What uses it is refused from then on."
