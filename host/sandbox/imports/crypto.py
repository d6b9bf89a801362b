"""`tenure:edge/crypto`: the primitives behind `crypto.subtle`. Pure; bytes travel as base64; an unknown algorithm
is none.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from host.sandbox.call import Call
from host.sandbox.capi import BOOL, STRING
from host.sandbox.crossing import OPTIONAL
from host.sandbox.imports.callback import host_function

HASHES = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
_SIGNATURE_HASHES: dict[str, hashes.HashAlgorithm] = {
    "SHA-1": hashes.SHA1(),
    "SHA-256": hashes.SHA256(),
    "SHA-384": hashes.SHA384(),
    "SHA-512": hashes.SHA512(),
}


@host_function("crypto", "digest", STRING, STRING, result=OPTIONAL | STRING)
def digest(_call: Call, algorithm: bytes, data: bytes) -> bytes | None:
    name = HASHES.get(algorithm.decode())
    return None if name is None else b64encode(hashlib.new(name, b64decode(data)).digest())


@host_function("crypto", "hmac", STRING, STRING, STRING, result=OPTIONAL | STRING)
def hmac_(_call: Call, algorithm: bytes, key: bytes, data: bytes) -> bytes | None:
    name = HASHES.get(algorithm.decode())
    return None if name is None else b64encode(hmac.digest(b64decode(key), b64decode(data), name))


@host_function("crypto", "verify", STRING, STRING, STRING, STRING, result=OPTIONAL | BOOL)
def verify(_call: Call, algorithm: bytes, key: bytes, signature: bytes, data: bytes) -> bool | None:
    try:
        return _verified(algorithm.decode(), b64decode(key), b64decode(signature), b64decode(data))
    except (ValueError, UnsupportedAlgorithm):
        return None


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
