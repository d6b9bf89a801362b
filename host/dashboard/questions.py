"""What is asked before something is done that one may regret: in a dialog if a script runs, on a page otherwise."""

from __future__ import annotations

from collections.abc import Mapping


def deploy_word(number: int, serving: int | None) -> str:
    return "Roll back" if number < (serving or 0) else "Deploy"


def deploy(name: str, number: int, serving: int | None) -> str:
    word = deploy_word(number, serving)
    return f"{word} {name} to version {number}? New requests go to it at once; those under way end where they are."


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
