"""The keys that secrets are sealed with, which are kept outside of the database: whoever has the one reads nothing.

They are in `<data>/secrets.key`, made when the first secret is stored and readable by the host's user alone; or the
operator gives them in TENURE_SECRETS_KEY, and no file is made. Either way it is a list: the first key seals, all of
them open. So a rotation is three steps, each of which may be the last before a crash: a new key is put in front, every
secret is sealed again, the old keys are dropped.

Shape of the file: a key on each line, the 32 bytes of it in base64. In the variable there are commas between them.

Sealed text: base64 of a 12-byte nonce and what AES-256-GCM makes of the UTF-8, bound to what it is about; so a sealed
text that is moved to another secret's place does not open.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from host.model.errors import Conflict, HostError

SECRETS_KEY_FILE = "secrets.key"
SECRETS_KEY_VARIABLE = "TENURE_SECRETS_KEY"
KEY_BYTES = 32
_NONCE_BYTES = 12
_FILE_BYTES_MAX = 4_096


class Unsealable(HostError):
    """No key that is there opens this."""


class KeyRing:
    """The keys of one host. Methods that touch the file block; they are never called at the same time."""

    def __init__(self, path: Path | None, keys: Iterable[bytes] = ()) -> None:
        """With a `path` the keys are that file's; without one they are `keys`, for ever."""
        self._path = path
        self._keys = list(keys)
        self._ciphers = {key_id(key): AESGCM(key) for key in self._keys}

    @property
    def current(self) -> str:
        """Id of the key that seals, "" before there is one."""
        return key_id(self._keys[0]) if self._keys else ""

    @property
    def count(self) -> int:
        return len(self._keys)

    def make_first(self) -> None:
        """See to it that there is a key. Raises OSError."""
        if not self._keys:
            self._keep([os.urandom(KEY_BYTES)])

    def begin_rotation(self) -> None:
        """A new key seals from now on; those before it still open. Raises OSError, Conflict (the keys are given)."""
        if self._path is None:
            raise Conflict(
                f"The key of this host's secrets comes from {SECRETS_KEY_VARIABLE}. To rotate it put a new key and a "
                "comma in front of the old one and start the host again: it seals every secret with the new one."
            )
        self._keep([os.urandom(KEY_BYTES), *self._keys])

    def end_rotation(self) -> None:
        """Only the first key is kept: nothing is sealed with another. Raises OSError."""
        if self._path is not None and len(self._keys) > 1:
            self._keep(self._keys[:1])

    def seal(self, text: str, about: bytes) -> tuple[str, str]:
        """(id of the key, sealed text). There has to be a key."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._ciphers[self.current].encrypt(nonce, text.encode(), about)
        return self.current, base64.b64encode(sealed).decode()

    def open(self, key: str, sealed: str, about: bytes) -> str:
        """The text that was sealed. Raises Unsealable."""
        cipher = self._ciphers.get(key)
        if cipher is None:
            where = SECRETS_KEY_VARIABLE if self._path is None else str(self._path)
            raise Unsealable(
                f"Secrets of this host are sealed with a key (id {key}) that {where} does not have. "
                "Put the key back that they were stored with; it is in no backup, but kept apart."
            )
        try:
            data = base64.b64decode(sealed, validate=True)
            return cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], about).decode()
        except (InvalidTag, ValueError):
            raise Unsealable("A stored secret is damaged. Restore the data folder from a backup.") from None

    def _keep(self, keys: list[bytes]) -> None:
        """The file is replaced as a whole and on disk before any of `keys` is used."""
        assert self._path is not None
        draft = self._path.with_name(self._path.name + ".new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.writelines(base64.b64encode(key).decode() + "\n" for key in keys)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._keys = keys
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}


def key_id(key: bytes) -> str:
    """Names a key in what it sealed: 8 hex digits that say nothing about it."""
    return hashlib.sha256(b"tenure secrets key\0" + key).hexdigest()[:8]


def open_key_ring(data_dir: Path, given: str = "") -> KeyRing:
    """The keys in `given` (the variable's value), else those of the file in `data_dir`; none if it is not there.

    Blocks. Raises HostError when either is not a list of keys.
    """
    if given.strip():
        return KeyRing(None, _parse(given, SECRETS_KEY_VARIABLE))
    path = data_dir / SECRETS_KEY_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return KeyRing(path)
    except OSError as error:
        raise HostError(f"The file {path} cannot be read: {error.strerror}.") from None
    with os.fdopen(descriptor, errors="replace") as file:
        return KeyRing(path, _parse(file.read(_FILE_BYTES_MAX), str(path)))


def _parse(text: str, where: str) -> list[bytes]:
    keys = []
    for word in re.split(r"[\s,]+", text.strip()):
        try:
            key = base64.b64decode(word, validate=True)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise HostError(
                f"{where} does not hold keys for secrets: each is {KEY_BYTES} random bytes in base64, as "
                f"`openssl rand -base64 {KEY_BYTES}` prints them."
            )
        keys.append(key)
    return keys
