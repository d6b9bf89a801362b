"""TLS certificates: read from files and checked by the control process, used by the edge of each worker.

A folder holds pairs: `NAME.crt`, the certificate and those that it hangs on, and `NAME.key`, its key, both PEM. Which
names a pair is for stands in the certificate; the file's name only pairs them. All of them are checked before any is
used, and one that is wrong refuses all, naming the file: a host must not start, or go on, with less than it was given.

A worker may read no such file. It gets the pairs as bytes in memory that has no name (`sealed`), before it is confined.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from host.model.errors import UsageError

CERTIFICATE, KEY = ".crt", ".key"
PAIRS_MAX = 1_000
_FILE_BYTES_MAX = 1 << 20
_OTHERS = 0o007


class Pair(NamedTuple):
    """`chain` and `key` are PEM; `names` are host names, `*.example.com` for all one label below."""

    chain: bytes
    key: bytes
    names: tuple[str, ...]


def read_pairs(folder: Path, now: datetime | None = None) -> list[Pair]:
    """All pairs in a folder, in order of their files' names. Blocks. Raises UsageError, which names the file."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in (CERTIFICATE, KEY))
    except OSError as error:
        raise UsageError(f"The folder of certificates {folder} cannot be read: {error.strerror}.") from None
    stems = sorted({path.stem for path in files})
    if not stems:
        raise UsageError(f"There is no certificate in {folder}. Put NAME{CERTIFICATE} and NAME{KEY} there, both PEM.")
    if len(stems) > PAIRS_MAX:
        raise UsageError(f"There are {len(stems)} certificates in {folder}; at most {PAIRS_MAX} are read.")
    pairs = [_read_pair(folder / f"{stem}{CERTIFICATE}", folder / f"{stem}{KEY}", now) for stem in stems]
    taken: dict[str, str] = {}
    for stem, pair in zip(stems, pairs, strict=True):
        for name in pair.names:
            if taken.setdefault(name, stem) != stem:
                raise UsageError(f"{taken[name]}{CERTIFICATE} and {stem}{CERTIFICATE} are both for {name}. Keep one.")
    return pairs


def digest_of(pairs: Sequence[Pair]) -> str:
    """Tells these pairs from others; says nothing of their keys."""
    return hashlib.sha256(b"".join(hashlib.sha256(pair.chain).digest() for pair in pairs)).hexdigest()[:16]


def sealed(pairs: Sequence[Pair]) -> int:
    """A descriptor of memory without a name that holds the pairs."""
    texts = [[pair.chain.decode(), pair.key.decode(), pair.names] for pair in pairs]
    return _in_memory(json.dumps(texts).encode())


def unsealed(descriptor: int) -> list[Pair]:
    """The pairs; the descriptor is closed."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(descriptor, "rb") as file:
        return [Pair(chain.encode(), key.encode(), tuple(names)) for chain, key, names in json.load(file)]


def context_of(pairs: Sequence[Pair], protocols: Sequence[str]) -> ssl.SSLContext:
    """What a server answers TLS with: by SNI the pair of the name. A name that no pair is for is refused; who names
    none gets the first. `protocols` are for ALPN, the best first.

    Makes files in memory: call it before the process is confined.
    """
    contexts = [_context(pair, protocols) for pair in pairs]
    by_name = {name: context for pair, context in zip(pairs, contexts, strict=True) for name in pair.names}

    def choose(connection: ssl.SSLObject, name: str | None, _first: ssl.SSLContext) -> int | None:
        if name is None:
            return None
        asked = name.lower().removesuffix(".")
        found = by_name.get(asked) or by_name.get("*." + asked.partition(".")[2])
        if found is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = found
        return None

    contexts[0].sni_callback = choose
    return contexts[0]


def _context(pair: Pair, protocols: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(protocols))
    descriptor = _in_memory(pair.chain + b"\n" + pair.key)
    try:
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


def _in_memory(data: bytes) -> int:
    descriptor = os.memfd_create("tenure")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    return descriptor


def _read_pair(certificate: Path, key: Path, now: datetime | None) -> Pair:
    from cryptography import x509  # a host without TLS starts without it
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    chain, secret = _read(certificate), _read(key)
    if key.stat().st_mode & _OTHERS:
        raise UsageError(f"{key} can be read by everybody on this machine. Use `chmod o= {key}`.")
    try:
        first = x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        raise UsageError(f"{certificate} holds no certificate in PEM.") from None
    try:
        private: Any = load_pem_private_key(secret, password=None)
    except TypeError:
        raise UsageError(f"{key} needs a password. Store the key without one, readable by the host alone.") from None
    except ValueError:
        raise UsageError(f"{key} holds no key in PEM.") from None
    if private.public_key() != first.public_key():
        raise UsageError(f"{key} is not the key of {certificate}.")
    moment = now or datetime.now(UTC)
    if moment >= first.not_valid_after_utc:
        raise UsageError(f"{certificate} expired on {first.not_valid_after_utc:%Y-%m-%d}. Put a new one in its place.")
    if moment < first.not_valid_before_utc:
        raise UsageError(f"{certificate} is not valid before {first.not_valid_before_utc:%Y-%m-%d}.")
    try:
        found = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        found = None
    names = tuple(name.lower() for name in found.get_values_for_type(x509.DNSName)) if found is not None else ()
    if not names:
        raise UsageError(f"{certificate} is for no host name: it has no DNS name among its alternative names.")
    return Pair(chain, secret, names)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise UsageError(f"{path} is missing: a certificate and its key come as a pair.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > _FILE_BYTES_MAX:
        raise UsageError(f"{path} is too large for a certificate or a key.")
    return data
