"""The manifest: the quick start's own file, every rule, and no input that breaks the reader."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.model.errors import ManifestError
from host.model.limits import LIMITS, Limits, MiB
from host.model.manifest import (
    MANIFEST_BYTES_MAX,
    ActorBinding,
    Manifest,
    SecretBinding,
    manifest_from_json,
    manifest_to_json,
    parse_manifest,
)

HEAD = 'name = "account"\nmain = "src/index.ts"\ncompatibility_date = "2026-05-01"\n'

QUICK_START = """
name = "account"
main = "src/index.ts"
compatibility_date = "2026-05-01"

[[actors]]
binding = "ACCOUNT"   # the property on env — your handle
type    = "Account"   # the class to instantiate per account name

[edge_compute]
func_id = "..."       # created by new-func; leave as-is
func_name = "account"
"""


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text)
    return caught.value.details


def test_the_quick_starts_file_is_read_as_it_is() -> None:
    manifest, warnings = parse_manifest(QUICK_START)
    assert manifest == Manifest(
        name="account",
        main="src/index.ts",
        compatibility_date="2026-05-01",
        actors=(ActorBinding("ACCOUNT", "Account"),),
        func_name="account",
    )
    assert len(warnings) == 1
    assert "placeholder" in warnings[0]


def test_everything_a_manifest_can_say_is_kept() -> None:
    manifest, warnings = parse_manifest(
        HEAD
        + """
[edge_compute]
func_id = "0198c2c5-8a00-7000-8000-000000000000"
[env_vars]
GREETING = "hello"
[[secrets]]
binding = "STRIPE"
name = "stripe-key"
[limits]
request_ms = 1500
memory_mb = 64
[outbound]
allow = ["api.example.com", "*.Example.org"]
"""
    )
    assert warnings == ()
    assert manifest.func_id == "0198c2c5-8a00-7000-8000-000000000000"
    assert manifest.env_vars == {"GREETING": "hello"}
    assert manifest.secrets == (SecretBinding("STRIPE", "stripe-key"),)
    assert manifest.outbound_allow == ("api.example.com", "*.example.org")
    applied = manifest.apply_limits(LIMITS)
    assert (applied.request_wall_s, applied.memory_bytes_max) == (1.5, 64 * MiB)
    assert isinstance(applied.memory_bytes_max, int)
    assert applied.method_wall_s == LIMITS.method_wall_s


def test_a_manifest_never_raises_a_limit_that_the_operator_lowered_later() -> None:
    manifest, _ = parse_manifest(HEAD + "[limits]\nrequest_ms = 20000\n")
    assert manifest.apply_limits(Limits(request_wall_s=5.0)).request_wall_s == 5.0


def test_three_mistakes_are_all_named_at_once() -> None:
    details = mistakes('name = "Account"\nmain = 7\n[[actors]]\nbinding = "A__B"\ntype = "Account"\n')
    assert len(details) == 3
    for word, detail in zip(("name", "main", "A_B"), details, strict=True):
        assert word in detail


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('main = "a.ts"', ("name is missing", 'name = "account"')),
        ('name = "a"', ("main is missing",)),
        ('name = "a-"\nmain = "a"', ("'a-'", "hyphen")),
        ('name = "a"\nmain = "a"\ncompatibility_date = "2026-13-01"', ("2026-13-01", "year-month-day")),
        ('name = "a"\nmain = "a"\ncompatibility_date = 2026-01-01T00:00:00', ("year-month-day",)),
        (HEAD + "[actors]\nbinding='A'\ntype='B'", ("[[actors]]", "double brackets")),
        (HEAD + "[[actors]]\nbinding='A'", ("[[actors]] entry 1 type is missing",)),
        (HEAD + "[[actors]]\nbinding='A'\ntype='" + "T" * 33 + "'", ("33 characters", "at most 32")),
        (HEAD + "[[actors]]\nbinding='1A'\ntype='T'", ("'1A'", "not an identifier")),
        (HEAD + "[[actors]]\nbinding='SECRETS'\ntype='T'", ("'SECRETS'", "choose another")),
        (HEAD + "[[actors]]\nbinding='A'\ntype='T'\n[env_vars]\nA='x'", ("already used by [[actors]] entry 1",)),
        (HEAD + "[env_vars]\nA='x'\n[[secrets]]\nbinding='A'\nname='n'", ("already used by [env_vars]",)),
        (HEAD + "[env_vars]\nPORT=80", ("[env_vars] PORT", "in quotes")),
        (HEAD + f"[env_vars]\nA='{'x' * 5001}'", ("5,001 bytes", "5,000")),
        (HEAD + "[env_vars]\n" + "".join(f"V{n}='x'\n" for n in range(65)), ("there are 65", "at most 64")),
        (
            HEAD + "".join(f"[[secrets]]\nbinding='S{n}'\nname='n'\n" for n in range(101)),
            ("there are 101", "at most 100"),
        ),
        (HEAD + "[limits]\nrequest_ms = 30001", ("over this host's limit", "30000")),
        (HEAD + "[limits]\ncpu_ms = 0", ("above 0",)),
        (HEAD + "[limits]\ncpu_ms = nan", ("above 0",)),
        (HEAD + "[limits]\ncpu_ms = inf", ("over this host's limit",)),
        (HEAD + "[limits]\ncpu_ms = true", ("above 0",)),
        (HEAD + "[limits]\ncpu_ms = 1" + "0" * 400, ("over this host's limit",)),
        (HEAD + "[outbound]\nallow = 'x'", ("list of host names",)),
        (HEAD + "[outbound]\nallow = ['https://api.example.com/v1']", ("without", "scheme")),
        (HEAD + "[edge_compute]\nfunc_id = 'nope'", ("'nope'", "not a function id")),
        ("env_vars = 3\n" + HEAD, ("[env_vars]",)),
    ],
)
def test_a_mistake_says_where_and_what_to_write(text: str, words: tuple[str, ...]) -> None:
    details = mistakes(text)
    assert len(details) == 1, details
    for word in words:
        assert word in details[0]


def test_exactly_the_limit_is_allowed() -> None:
    text = HEAD + "[[actors]]\nbinding='A'\ntype='" + "T" * 32 + "'\n[limits]\nrequest_ms = 30000\n[env_vars]\n"
    text += "".join(f"V{n}='{'x' * 5000}'\n" for n in range(64))
    text += "".join(f"[[secrets]]\nbinding='S{n}'\nname='n'\n" for n in range(100))
    manifest, warnings = parse_manifest(text)
    assert (len(manifest.env_vars), len(manifest.secrets)) == (64, 100)
    assert warnings == ()


def test_unknown_keys_are_named_with_what_was_probably_meant() -> None:
    _, warnings = parse_manifest(HEAD + "[limits]\nrequest_mss = 5\n[[actor]]\nbinding='A'\ntype='T'\n[zzzzzz]\n")
    assert len(warnings) == 3
    assert any("'actor'" in warning and "'actors'" in warning for warning in warnings)
    assert any("'request_mss'" in warning and "'request_ms'" in warning for warning in warnings)
    assert any(warning.endswith("ignored.") for warning in warnings)


def test_a_date_may_be_written_without_quotes() -> None:
    manifest, _ = parse_manifest('name = "a"\nmain = "a"\ncompatibility_date = 2026-05-01\n')
    assert manifest.compatibility_date == "2026-05-01"


def test_bad_toml_is_told_with_its_line() -> None:
    (detail,) = mistakes(HEAD + "[[actors]\n")
    assert "not valid TOML" in detail
    assert "line 4" in detail


@pytest.mark.parametrize("text", ["a=" + "[" * 50_000, "a=" + "{a=" * 50_000, "a=" + "9" * 5_000, "a\x00b"])
def test_text_that_breaks_the_toml_reader_is_a_manifest_error(text: str) -> None:
    assert len(mistakes(text)) == 1


def test_a_key_of_very_many_parts_is_refused_at_once() -> None:
    started = time.monotonic()
    (detail,) = mistakes(".".join("a" * 200_000) + " = 1")
    assert "dotted parts" in detail
    assert len(mistakes("a" * 400_000)) == 1
    assert time.monotonic() - started < 5


def test_a_manifest_over_its_size_is_refused_unread() -> None:
    (detail,) = mistakes("#" * (MANIFEST_BYTES_MAX + 1))
    assert "bytes" in detail


def test_the_stored_form_reads_back_equal() -> None:
    manifest, _ = parse_manifest(
        QUICK_START
        + "[env_vars]\nA='x'\n[[secrets]]\nbinding='B'\nname='b'\n[limits]\ncpu_ms=5\n[outbound]\nallow=['a']"
    )
    assert manifest_from_json(manifest_to_json(manifest)) == manifest


names = st.sampled_from(["name", "main", "actors", "env_vars", "limits", "outbound", "secrets", "edge_compute", "x"])
scalars = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["true", "[]", "{}", "2026-01-01", "[[1]]", "[{}]", "{binding='A', type='B'}"]),
    st.text(st.characters(codec="utf-8", exclude_characters="'\n\r"), max_size=40).map(lambda text: f"'{text}'"),
)
inner = st.sampled_from(["binding", "type", "name", "allow", "cpu_ms", "memory_mb", "func_id", "A", "B"])
lines = st.one_of(
    st.builds("{} = {}".format, st.one_of(names, inner), scalars),
    st.builds("[{}]".format, names),
    st.builds("[[{}]]".format, names),
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(lines, max_size=12).map("\n".join)))
def test_no_text_raises_anything_but_a_manifest_error(text: str) -> None:
    try:
        manifest, warnings = parse_manifest(text)
    except ManifestError as error:
        refused = error
    else:
        assert manifest_from_json(manifest_to_json(manifest)) == manifest
        assert all(warnings)
        return
    assert refused.details
    assert all(refused.details)
