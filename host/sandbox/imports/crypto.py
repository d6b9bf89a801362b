"""`tenure:edge/crypto`: the primitives behind `crypto.subtle`. Pure; bytes travel as base64; an unknown algorithm
is none.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from host.sandbox import capi
from host.sandbox.capi import STRING
from host.sandbox.imports.callback import host_function, text

HASHES = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
_SIGNATURE_HASHES: dict[str, hashes.HashAlgorithm] = {
    "SHA-1": hashes.SHA1(),
    "SHA-256": hashes.SHA256(),
    "SHA-384": hashes.SHA384(),
    "SHA-512": hashes.SHA512(),
}


@host_function("crypto", "digest", STRING, STRING)
def digest(_call: Any, fields: tuple[Any, ...], results: int) -> None:
    name = HASHES.get(text(fields, 1).decode())
    data = b64decode(text(fields, 4))
    capi.set_option_string(results, None if name is None else b64encode(hashlib.new(name, data).digest()))


@host_function("crypto", "hmac", STRING, STRING, STRING)
def hmac_(_call: Any, fields: tuple[Any, ...], results: int) -> None:
    name = HASHES.get(text(fields, 1).decode())
    key, data = b64decode(text(fields, 4)), b64decode(text(fields, 7))
    capi.set_option_string(results, None if name is None else b64encode(hmac.digest(key, data, name)))


@host_function("crypto", "verify", STRING, STRING, STRING, STRING)
def verify(_call: Any, fields: tuple[Any, ...], results: int) -> None:
    algorithm = text(fields, 1).decode()
    key, signature, data = (b64decode(text(fields, at)) for at in (4, 7, 10))
    try:
        found: bool | None = _verified(algorithm, key, signature, data)
    except (ValueError, UnsupportedAlgorithm):
        found = None
    capi.set_option_bool(results, found)


def _verified(algorithm: str, spki: bytes, signature: bytes, data: bytes) -> bool:
    """Raises ValueError for an unknown algorithm, or a key that is not one of it (DER SubjectPublicKeyInfo)."""
    name, _, hash_name = algorithm.partition("/")
    key = load_der_public_key(spki)
    try:
        if name == "Ed25519" and isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        elif name == "RSASSA-PKCS1-v1_5" and isinstance(key, rsa.RSAPublicKey) and hash_name in _SIGNATURE_HASHES:
            key.verify(signature, data, padding.PKCS1v15(), _SIGNATURE_HASHES[hash_name])
        else:
            raise ValueError("unknown algorithm or another kind of key")
    except InvalidSignature:
        return False
    return True
