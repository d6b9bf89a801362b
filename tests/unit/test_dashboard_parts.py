"""The dashboard's parts without a page: sessions, attempts, visitors, a chart's marks, how values are said."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from host.dashboard import charts, questions, sessions, usage, words
from host.dashboard.charts import Minute
from host.dashboard.sessions import Sessions
from host.dashboard.visitor import Visitor, visitor
from host.model import attempts
from host.model.attempts import Attempts
from host.model.clock import ManualClock
from host.model.quotas import NAMES

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def test_the_sessions_that_were_used_longest_ago_go_when_there_are_too_many() -> None:
    clock = ManualClock()
    kept = Sessions(clock)
    first = kept.begin("key")
    tokens = [kept.begin("key") for _ in range(sessions.KEY_SESSIONS_MAX)]
    assert kept.find(first) is None
    assert all(kept.find(token) is not None for token in tokens)
    others = [kept.begin(f"key {number}") for number in range(sessions.SESSIONS_MAX)]
    assert [kept.find(token) for token in tokens] == [None] * len(tokens)
    assert all(kept.find(token) is not None for token in others)


def test_a_token_that_was_not_given_is_nobodys() -> None:
    kept = Sessions(ManualClock())
    token = kept.begin("key")
    assert kept.find("") is kept.find(token[:-1]) is kept.find("é") is None
    assert "key" not in repr(kept.find(token))


def test_what_runs_in_a_session_ends_with_it_and_does_not_keep_it() -> None:
    clock = ManualClock()
    kept = Sessions(clock)
    token = kept.begin("key")
    session = kept.find(token)
    assert session is not None
    clock.advance(sessions.IDLE_S - 1)
    assert kept.goes_on(session)
    clock.advance(1)
    assert not kept.goes_on(session)
    kept.end(token)
    assert not kept.goes_on(session)


def test_failures_are_forgiven_one_by_one_and_few_addresses_are_remembered() -> None:
    clock = ManualClock()
    tried = Attempts(clock)
    for _ in range(attempts.FAILURES_MAX):
        assert tried.wait_s("a") == 0
        tried.failed("a")
    assert tried.wait_s("a") == attempts.FORGIVEN_EVERY_S
    clock.advance(attempts.FORGIVEN_EVERY_S)
    assert tried.wait_s("a") == 0
    tried.failed("a")
    assert tried.wait_s("a") > 0
    for number in range(attempts.ADDRESSES_MAX):
        tried.failed(f"b{number}")
    assert tried.wait_s("a") == 0


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        ("192.0.2.1", {}, Visitor("192.0.2.1", False)),
        ("192.0.2.1", {"x-forwarded-for": "192.0.2.9", "x-forwarded-proto": "https"}, Visitor("192.0.2.1", False)),
        ("10.0.0.1", {"x-forwarded-for": "192.0.2.9", "x-forwarded-proto": "https"}, Visitor("192.0.2.9", True)),
        ("10.0.0.1", {"x-forwarded-for": "6.6.6.6, 192.0.2.9, 10.0.0.2"}, Visitor("192.0.2.9", False)),
        ("10.0.0.1", {"x-forwarded-for": "192.0.2.9, nonsense"}, Visitor("10.0.0.1", False)),
        ("10.0.0.1", {"x-forwarded-proto": "https, http"}, Visitor("10.0.0.1", False)),
        ("::ffff:10.0.0.1", {"x-forwarded-for": "192.0.2.9"}, Visitor("192.0.2.9", False)),
        ("2001:db8:1:2:3::4", {}, Visitor("2001:db8:1:2::/64", False)),
        ("", {}, Visitor("", False)),
    ],
)
def test_a_visitor_is_who_the_last_trusted_proxy_saw(peer: str, headers: dict[str, str], expected: Visitor) -> None:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert visitor(peer, "http", sent, PROXIES) == expected


def test_a_connection_with_tls_is_encrypted_whoever_made_it() -> None:
    assert visitor("192.0.2.1", "https", [], ()).encrypted


def test_a_chart_has_a_place_for_each_minute_also_for_those_without_a_request() -> None:
    series = [
        {"time": "2026-05-01T10:01:00.000Z", "count": 4, "errors": 1, "p50_ms": 2.0, "p95_ms": 3.0, "p99_ms": 5.0},
        {"time": "2026-05-01T09:00:00.000Z", "count": 9, "errors": 9, "p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.0},
    ]
    minutes = charts.minutes_of(series, 3, 1_777_629_725_000)
    assert [(one.requests, one.errors) for one in minutes] == [(0, 0), (4, 1), (0, 0)]
    chart = charts.requests_chart(minutes)
    assert (chart.top, chart.bars) == (5.0, [charts.Bar(220.0, 20.0, 160.0, 80.0)])
    assert [hit.text for hit in chart.hits] == ["10:00: 0 requests", "10:01: 4 requests", "10:02: 0 requests"]
    assert chart.starts == ["2026-05-01T10:00:00Z", "2026-05-01T10:01:00Z", "2026-05-01T10:02:00Z"]
    assert chart.summary == "4 requests in 3 minutes, at most 4 in one."


def test_a_line_is_broken_where_nothing_was_measured_and_a_minute_alone_can_be_seen() -> None:
    last = Minute(180_000, 1, 0, 2.0, 2.0, 2.0)
    minutes = [Minute(0, 1, 0, 1.0, 1.0, 1.0), Minute(60_000, 1, 0, 2.0, 2.0, 2.0), Minute(120_000), last]
    paths = {line.name: line.path for line in charts.latency_chart(minutes).lines}
    assert paths["p50"] == "M75.0 50.0L225.0 0.0M450.0 0.0H600.0"


@pytest.mark.parametrize(("value", "top"), [(0, 1), (1, 1), (1.5, 2), (3, 5), (10, 10), (11, 20), (999, 1000)])
def test_a_scale_ends_at_a_round_number(value: float, top: float) -> None:
    assert charts.ceiling(value) == top


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "just now"), (59, "59 seconds ago"), (60, "1 minute ago"), (7_200, "2 hours ago"), (-90, "in 1 minute")],
)
def test_a_time_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert words.relative(seconds) == said


def test_a_time_has_the_exact_one_beside_it() -> None:
    said = words.Words(ManualClock(1_777_629_725_000)).ago("2026-05-01T10:00:05.000Z")
    assert said == (
        '<time datetime="2026-05-01T10:00:05.000Z" title="2026-05-01 10:00:05.000 UTC">2 minutes ago</time>'
    )


def test_a_name_shows_what_cannot_be_seen_and_is_escaped() -> None:
    assert words.name("a\n\u202e<b>&") == (
        'a<span class="unseen">\\u000a</span><span class="unseen">\\u202e</span>&lt;b&gt;&amp;'
    )


def test_a_value_that_no_page_can_hold_stays_an_escape() -> None:
    assert words.value({"a": "é\ud800"}, indent=None) == '{"a": "é\\ud800"}'
    assert words.preview({"text": "x" * 999}) == "x" * words.PREVIEW_CHARS_MAX + "…"
    words.preview({"text": "\ud800"}).encode()


@pytest.mark.parametrize(
    ("octets", "said"), [(None, words.NOTHING), (0, "0 bytes"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")]
)
def test_a_size_has_a_unit_that_fits(octets: float | None, said: str) -> None:
    assert words.size(octets) == said


@pytest.mark.parametrize(
    ("name", "used", "limit", "percent", "word"),
    [
        ("storage_mb", 79.9, 100, 79.9, ""),
        ("storage_mb", 80, 100, 80.0, "nearly used up"),
        ("storage_mb", 100, 100, 100.0, "used up"),
        ("storage_mb", 250, 100, 100.0, "over quota"),
        ("versions", 50, 50, 100.0, "full"),
        ("activations", 40, 50, 80.0, ""),
        ("requests_per_second", None, None, None, ""),
        ("memory_mb", None, 128, None, ""),
        ("activations", 24, None, None, ""),
    ],
)
def test_a_quota_is_marked_when_little_or_nothing_of_it_is_left(
    name: str, used: float | None, limit: float | None, percent: float | None, word: str
) -> None:
    drawn = usage.gauge({"name": name, "used": used, "limit": limit, "set": False})
    assert (drawn.percent, drawn.word) == (percent, word)
    assert drawn.level == {"nearly used up": "warn", "used up": "bad", "over quota": "bad"}.get(word, "")


def test_every_quota_is_said_in_words() -> None:
    assert set(usage.MEANINGS) == set(NAMES) > usage.MAKE_ROOM


def test_an_amount_has_digits_where_they_tell_something() -> None:
    values = (None, 0, 0.000034, 0.5, 12.0, 12.346, 123.4, 1_234_567.0)
    assert [*map(words.amount, values)] == [words.NOTHING, "0", "< 0.01", "0.50", "12", "12.35", "123", "1,234,567"]


@pytest.mark.parametrize(
    ("split", "serving", "number", "word"),
    [
        ([], 2, 1, "Roll back"),
        ([], 2, 3, "Deploy"),
        ([], None, 1, "Deploy"),
        ([1, 2], 2, 1, "Serve alone"),
        ([1, 2], 2, 3, "Deploy"),
    ],
)
def test_a_deployment_is_called_what_it_is(split: list[int], serving: int | None, number: int, word: str) -> None:
    function = {"name": "shop", "version": serving, "split": [{"version": one, "weight": 1} for one in split]}
    assert questions.deploy_word(function, number) == word
    assert questions.deploy_label(function, number).startswith(word)
    assert f"version {number}" in questions.deploy(function, number)
