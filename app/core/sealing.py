"""Sealing: encryption with associated data, and keyed hashes by which a sealed value is found again.

A sealed value is AES-256-GCM (NIST SP 800-38D) under a key derived (HKDF-SHA256, RFC 5869) from one of the master keys.
Its associated data name the table, the row and the column, so a value copied to another place does not open. A keyed
hash is HMAC-SHA256 (RFC 2104) cut to 16 bytes, under a key of its own for each kind of value: two kinds never compare
equal, and without the master key a value cannot be found by trying all of them.

Sealing rotates, searching does not: the newest key seals, and a sealed value names its key; every hash is taken under
the oldest, the *index key*, so that equal values have equal hashes for as long as the rows stand.

Nonces are 96 random bits. One key may seal 2**32 values before the chance of a repeated nonce exceeds 2**-32 (SP
800-38D, section 8.3); a city of ten million needs centuries for that, and every rotation starts afresh.
"""

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
HASH_BYTES = 16
MAX_KEY_ID = 32_767  # fits PostgreSQL's smallint, in which rows keep the id of the key that hashed them

_ID_BYTES = 2
_ROW_ID_LENGTH = (16).to_bytes(2, "big")
_NONCE_BYTES = 12
_TAG_BYTES = 16
_BLOCK_BYTES = 64  # of SHA-256, for HMAC
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class HashKind(StrEnum):
    """What a keyed hash is taken of; each kind has its own key."""

    DOCUMENT = "document"
    PHONE = "phone"
    NAME = "name"
    NAME_BIRTH = "name_birth"
    DOCUMENT_PART = "document_part"
    PRESENTATION = "presentation"
    CONTENT = "content"


class SealBroken(Exception):
    """A sealed value does not open here: it was changed, cut short, or copied from another row, column or table."""


class KeyUnknown(Exception):
    """A value was sealed or hashed under a master key that this keyring does not hold."""


class KeyringInvalid(ValueError):
    """The master keys cannot be used: their notation is wrong, or their file can be read by others."""


class _Hash(Protocol):
    def copy(self) -> "_Hash": ...
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _KeyedHash:
    """HMAC-SHA256 with the key's two blocks hashed beforehand: 0.6 µs a value, where `hmac.new().copy()` takes 1.4."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner: _Hash = hashlib.sha256(block.translate(_INNER))
        self._outer: _Hash = hashlib.sha256(block.translate(_OUTER))

    def digest(self, message: bytes) -> bytes:
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()


def _hasher(key: bytes) -> Callable[[str | bytes], bytes]:
    digest = _KeyedHash(key).digest

    def hashed(value: str | bytes) -> bytes:
        return digest(value if isinstance(value, bytes) else value.encode())[:HASH_BYTES]

    return hashed


class _MasterKey:
    """One master key, with everything that is derived from it."""

    __slots__ = ("_secret", "cipher", "hashes", "identifier", "macs", "prefix", "signers")

    def __init__(self, identifier: int, secret: bytes) -> None:
        self._secret = secret
        self.identifier = identifier
        self.prefix = identifier.to_bytes(_ID_BYTES, "big")
        self.cipher = AESGCM(self._derive("seal/v1"))
        self.hashes = {kind: _hasher(self._derive(f"hash/{kind}")) for kind in HashKind}
        self.macs: dict[str, _KeyedHash] = {}
        self.signers: dict[str, tuple[Ed25519PrivateKey, bytes]] = {}

    def _derive(self, purpose: str) -> bytes:
        info = f"pharmacy-sentinel/{purpose}".encode()
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self._secret)

    def mac(self, purpose: str, message: bytes) -> bytes:
        keyed = self.macs.get(purpose)
        if keyed is None:
            keyed = self.macs[purpose] = _KeyedHash(self._derive(f"mac/{purpose}"))
        return keyed.digest(message)

    def sign(self, purpose: str, message: bytes) -> bytes:
        return self._signer(purpose)[0].sign(message)

    def public_key(self, purpose: str) -> bytes:
        return self._signer(purpose)[1]

    def _signer(self, purpose: str) -> tuple[Ed25519PrivateKey, bytes]:
        signer = self.signers.get(purpose)
        if signer is None:
            private = Ed25519PrivateKey.from_private_bytes(self._derive(f"sign/{purpose}"))
            signer = self.signers[purpose] = private, private.public_key().public_bytes_raw()
        return signer

    def notation(self) -> str:
        return f"{self.identifier}:{base64.b64encode(self._secret).decode()}"


class Keyring:
    """The master keys: the last one seals, all of them open, the first one (the index key) hashes."""

    __slots__ = ("_all", "_current", "_index")

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        """Take master keys by id, in order of age: the first is the index key, the last is current.

        Raises:
            KeyringInvalid: there is no key, the ids do not ascend or lie outside 1 … 32,767, or a key does not have 32
                bytes.
        """
        if not keys:
            raise KeyringInvalid("at least one master key is needed")
        for identifier, secret in keys.items():
            if not 1 <= identifier <= MAX_KEY_ID:
                raise KeyringInvalid(f"a master key's id must lie between 1 and {MAX_KEY_ID}")
            if len(secret) != KEY_BYTES:
                raise KeyringInvalid(f"master key {identifier} does not have {KEY_BYTES} bytes")
        if list(keys) != sorted(keys):
            # The index key is the lowest id; a lower one that came later would take its place unnoticed.
            raise KeyringInvalid("the ids of master keys must ascend: a new key has the highest and stands last")
        self._all = {identifier: _MasterKey(identifier, secret) for identifier, secret in keys.items()}
        self._index, self._current = self._all[min(keys)], self._all[max(keys)]

    def __repr__(self) -> str:
        return f"Keyring(ids={list(self._all)}, current={self.key_id})"

    def __reduce__(self) -> str:
        raise TypeError("a keyring is not to be copied out of the process")

    @classmethod
    def generate(cls, identifier: int = 1) -> "Keyring":
        """Return a keyring of one new random key."""
        return cls({identifier: os.urandom(KEY_BYTES)})

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """Read `1:base64,2:base64` (standard base64 of 32 bytes, with its padding; spaces and line breaks are ignored).

        Raises:
            KeyringInvalid: the text has another form. The message never repeats it.
        """
        keys: dict[int, bytes] = {}
        for position, part in enumerate("".join(text.split()).split(","), start=1):
            identifier, colon, encoded = part.partition(":")
            if not (
                colon and identifier.isascii() and identifier.isdigit() and len(identifier) <= len(str(MAX_KEY_ID))
            ):
                raise KeyringInvalid(f"master key number {position} is not written as id:base64")
            if int(identifier) in keys:
                raise KeyringInvalid(f"master key {int(identifier)} is there twice")
            try:
                keys[int(identifier)] = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                # `from None`: the cause would carry the text of a key into a log.
                raise KeyringInvalid(f"master key {int(identifier)} is not base64") from None
        return cls(keys)

    @property
    def key_id(self) -> int:
        """The id of the current key, under which values are sealed and, unless another is named, authenticated."""
        return self._current.identifier

    @property
    def index_key_id(self) -> int:
        """The id of the index key, the lowest one held, under which every hash is taken."""
        return self._index.identifier

    def notation(self) -> str:
        """Return the keys as `parse` reads them. A secret: for the key file, an operator's terminal and a helper's pipe only."""
        return ",".join(key.notation() for key in self._all.values())

    def seal(self, plaintext: bytes, *, table: str, row: UUID, column: str) -> bytes:
        """Return key id (2 bytes), nonce (12), ciphertext and tag (16), bound to one column of one row."""
        nonce = os.urandom(_NONCE_BYTES)
        key = self._current
        return key.prefix + nonce + key.cipher.encrypt(nonce, plaintext, _place(table, row, column))

    def open(self, sealed: bytes, *, table: str, row: UUID, column: str) -> bytes:
        """Return what was sealed for this column of this row.

        Raises:
            KeyUnknown: it names a key that is not held.
            SealBroken: any byte of it, or the place, is another than when it was sealed.
        """
        if len(sealed) < _ID_BYTES + _NONCE_BYTES + _TAG_BYTES:
            raise SealBroken(f"{table}.{column} of {row} is too short")
        key = self._key(int.from_bytes(sealed[:_ID_BYTES], "big"))
        nonce = sealed[_ID_BYTES : _ID_BYTES + _NONCE_BYTES]
        try:
            return key.cipher.decrypt(nonce, sealed[_ID_BYTES + _NONCE_BYTES :], _place(table, row, column))
        except InvalidTag:
            raise SealBroken(f"{table}.{column} of {row} does not open") from None

    def hash(self, kind: HashKind, value: str | bytes) -> bytes:
        """Return the 16-byte keyed hash of a value, a text or its bytes, under the index key: the same before and after a rotation."""
        return self._index.hashes[kind](value)

    def hasher(self, kind: HashKind) -> Callable[[str | bytes], bytes]:
        """Return `hash` for one kind, for whoever hashes thousands."""
        return self._index.hashes[kind]

    def mac(self, purpose: str, message: bytes, *, key_id: int | None = None) -> bytes:
        """Return a 32-byte authentication code for a chain or a receipt, under the current key or the one that is
        named.

        `purpose` separates uses: each has a key of its own, apart from those that seal and hash.

        Raises:
            KeyUnknown: the key named is not held.
        """
        key = self._current if key_id is None else self._key(key_id)
        return key.mac(purpose, message)

    def sign(self, purpose: str, message: bytes, *, key_id: int | None = None) -> bytes:
        """Return an Ed25519 signature (RFC 8032, 64 bytes) under the current key or the one that is named.

        The same message under the same key has the same signature, so none need be kept.

        Raises:
            KeyUnknown: the key named is not held.
        """
        key = self._current if key_id is None else self._key(key_id)
        return key.sign(purpose, message)

    def public_key(self, purpose: str, key_id: int) -> bytes:
        """Return the 32-byte public key with which others check what a master key has signed.

        Raises:
            KeyUnknown: the key named is not held.
        """
        return self._key(key_id).public_key(purpose)

    @property
    def key_ids(self) -> list[int]:
        """The ids of all keys held, the current one last."""
        return list(self._all)

    def _key(self, identifier: int) -> _MasterKey:
        try:
            return self._all[identifier]
        except KeyError:
            raise KeyUnknown(f"master key {identifier} is not in the keyring") from None


def _place(table: str, row: UUID, column: str) -> bytes:
    # Each part is preceded by its length: without that, ("ab", "c") and ("a", "bc") would be the same place.
    return _measured(table) + _ROW_ID_LENGTH + row.bytes + _measured(column)


@cache  # a few tables and columns, each of them thousands of times
def _measured(name: str) -> bytes:
    encoded = name.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def load_or_create(path: Path) -> Keyring:
    """Read the key file, or make one with a new key that only its owner may read (mode 0600).

    Any number of processes may call this at once and get the same keys: the file is written in full under another
    name and then linked to its own, which succeeds for exactly one of them.

    Raises:
        KeyringInvalid: the file has another form, or others may read it.
        OSError: it cannot be read or written.
    """
    if not path.exists():
        _create(path)
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise KeyringInvalid(f"{path} can be read by others; its mode must be 0600")
        content = file.read()
    try:
        return Keyring.parse(content.decode("ascii"))
    except UnicodeDecodeError:
        raise KeyringInvalid(f"{path} does not hold keys") from None


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(Keyring.generate().notation().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # another process was first; its keys are the keys
        if os.name == "posix":
            # Without this a crash could leave sealed rows and no key to open them.
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        draft.unlink(missing_ok=True)
