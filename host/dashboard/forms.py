"""What pages that change something share: questions before, notices after, and what stands in a query.

A form that asks first is sent twice: without `confirmed` the answer is a page with the question. A script asks in a
dialog instead and sends it once, so both ways end in the same request.
"""

from __future__ import annotations

from quart import redirect, render_template, request

from host.dashboard.guard import Reply, session


def asked(*names: str) -> dict[str, str]:
    """Those of these arguments of the query that are there and not empty."""
    return {name: request.args[name] for name in names if request.args.get(name)}


async def field(name: str) -> str:
    """What a form sent under this name; "" if nothing."""
    return str((await request.form).get(name, ""))


def whole(text: str) -> int | None:
    """A whole number of nine digits at most; None for any other text."""
    return int(text) if text.isdecimal() and len(text) <= 9 else None


async def confirmed(question: str, word: str, back: str) -> str | None:
    """None if it is; the page that asks otherwise. `word` is what its button says, `back` where not doing it leads."""
    form = await request.form
    if form.get("confirmed") == "yes":
        return None
    fields = [(name, value) for name, value in form.items() if name != "csrf"]
    action = request.full_path.rstrip("?")
    return await render_template("confirm.html", question=question, word=word, back=back, fields=fields, action=action)


def done(sentence: str, page: str, *more: str) -> Reply:
    """To a page that says what was done."""
    for each in (sentence, *more):
        session().notice(each)
    return redirect(page, 303)
