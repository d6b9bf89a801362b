"""A call and its answer come out of the wire as they went in, and nothing else is taken for one."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.actors import turn
from host.actors.ports import Answer
from host.actors.turn import Turn
from host.cluster.wire import decode_answer, decode_call, encode_answer, encode_call
from host.model.errors import ACTOR_ERRORS, ActorError
from host.model.ids import ActorId
from host.model.message import CallContext, HttpRequest, HttpResponse

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
blobs = st.binary(max_size=300)


def ignored(answer: Answer) -> None:
    """Nobody waits."""


contexts = st.builds(
    lambda request_id, chain: CallContext(request_id, tuple(ActorId("acme", *each) for each in chain)),
    texts,
    st.lists(st.tuples(names, names), max_size=16),
)
turns = st.one_of(
    st.builds(lambda method, arguments, context: turn.invoke(method.encode(), arguments, context, ignored),
              names, blobs, contexts),
    st.builds(lambda method, url, headers, body, binary, context: turn.fetch(
        HttpRequest(method, url, headers, body, binary), context, ignored),
        texts, texts, blobs, blobs, st.booleans(), contexts),
)  # fmt: skip


def seen(work: Turn) -> tuple[object, ...]:
    return work.export, work.parameters, work.what, work.context, work.due_ms


@settings(max_examples=300, deadline=None)
@given(names, names, turns, st.integers(0, 2**64 - 1))
def test_a_call_crosses_unchanged(type_: str, name: str, work: Turn, number: int) -> None:
    actor = ActorId("acme", type_, name)
    arrived = decode_call(encode_call(actor, work, number), ignored)
    assert (arrived.actor, seen(arrived.turn), arrived.number) == (actor, seen(work), number)
    assert arrived.turn.reply is ignored


errors = st.builds(
    lambda name, *texts: ACTOR_ERRORS[name](texts[0], cause=texts[1], stack=texts[2]),
    st.sampled_from(sorted(ACTOR_ERRORS)), texts, texts, texts,
)  # fmt: skip
responses = st.builds(HttpResponse, st.integers(100, 599), blobs, blobs, st.booleans())


@settings(max_examples=300, deadline=None)
@given(st.one_of(blobs, responses, errors))
def test_an_answer_crosses_unchanged(answer: Answer) -> None:
    again = decode_answer(encode_answer(answer))
    assert type(again) is type(answer)
    if isinstance(answer, ActorError):
        assert isinstance(again, ActorError)
        fields = (answer.name, answer.detail, answer.cause, answer.stack, answer.http_status, answer.retryable)
        assert (again.name, again.detail, again.cause, again.stack, again.http_status, again.retryable) == fields
    else:
        assert again == answer


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_what_is_no_message_is_refused_with_a_value_error(data: bytes) -> None:
    for decode in (lambda: decode_call(data, ignored), lambda: decode_answer(data)):
        with contextlib.suppress(ValueError):
            decode()


def test_an_alarm_and_a_text_without_utf8_are_not_sent() -> None:
    actor = ActorId("acme", "Probe", "a")
    with pytest.raises(ValueError, match="alarm"):
        encode_call(actor, turn.alarm(1, 0, CallContext(), ignored), 0)
    with pytest.raises(ValueError, match="surrogates"):
        encode_call(actor._replace(name="\ud800"), turn.invoke(b"m", b"[]", CallContext(), ignored), 0)
    with pytest.raises(ValueError, match="cannot be sent"):
        encode_call(actor, turn.invoke(b"m", b"[]", CallContext("x" * 70_000), ignored), 0)
