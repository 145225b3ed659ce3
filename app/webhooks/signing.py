"""Standard Webhooks 1.0.0: how an event is signed, and how a subscriber checks it.

Signed is ``{webhook-id}.{webhook-timestamp}.{raw body}``. Two schemes: ``v1`` is HMAC-SHA256 with a secret that both sides
know (``whsec_``); ``v1a`` is Ed25519, where the subscriber holds the public half only (``whpk_``). Several signatures may
stand in one header, which is how a secret is rotated without losing an event.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

TOLERANCE_SECONDS: Final = 300
"""How far a timestamp may be from the receiver's clock, either way, before the message counts as a replay."""

_SHARED_PREFIX: Final = "whsec_"
_PRIVATE_PREFIX: Final = "whsk_"
_PUBLIC_PREFIX: Final = "whpk_"
_NEW_SHARED_BYTES: Final = 32
# The specification generates 24 to 64 bytes; its own libraries accept shorter ones, so the floor here is 128 bits.
_MIN_SHARED_BYTES: Final = 16
_MAX_SHARED_BYTES: Final = 64
_MAX_SIGNATURES: Final = 16


class SecretMalformed(ValueError):
    """The text is no signing secret: wrong prefix, not base64, or of a wrong length."""


class SignatureRefused(ValueError):
    """The message must not be believed; `code` says why: missing_header, bad_timestamp, too_old, too_new, no_match."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, repr=False)
class SharedSecret:
    """A ``whsec_`` secret: the same bytes sign and verify."""

    key: bytes

    def text(self) -> str:
        """The secret as it is handed over."""
        return _SHARED_PREFIX + base64.b64encode(self.key).decode()

    def sign(self, content: bytes) -> str:
        """One ``v1`` signature over the signed content."""
        return "v1," + base64.b64encode(hmac.digest(self.key, content, hashlib.sha256)).decode()

    def accepts(self, signature: str, content: bytes) -> bool:
        """Is this the one right signature? Compared as text and in constant time, so no second spelling passes."""
        return hmac.compare_digest(self.sign(content).encode(), signature.encode())


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A ``whpk_`` key: it verifies and cannot sign."""

    key: bytes

    def text(self) -> str:
        """The key as it is handed over."""
        return _PUBLIC_PREFIX + base64.b64encode(self.key).decode()

    def accepts(self, signature: str, content: bytes) -> bool:
        """Is this a valid ``v1a`` signature over the content?"""
        version, _, encoded = signature.partition(",")
        if version != "v1a":
            return False
        try:
            raw = base64.b64decode(encoded, validate=True)
            Ed25519PublicKey.from_public_bytes(self.key).verify(raw, content)
        except (binascii.Error, InvalidSignature, ValueError):
            return False
        # base64 leaves spare bits in its last character: only the canonical spelling counts.
        return base64.b64encode(raw).decode() == encoded


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A ``whsk_`` key: Ed25519 seed and public key, 64 bytes together."""

    seed: bytes

    @property
    def public_key(self) -> PublicKey:
        """The half that a subscriber keeps."""
        return PublicKey(Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    def text(self) -> str:
        """The key as it is stored (sealed); it never leaves the service."""
        return _PRIVATE_PREFIX + base64.b64encode(self.seed + self.public_key.key).decode()

    def sign(self, content: bytes) -> str:
        """One ``v1a`` signature over the signed content."""
        return "v1a," + base64.b64encode(Ed25519PrivateKey.from_private_bytes(self.seed).sign(content)).decode()

    def accepts(self, signature: str, content: bytes) -> bool:
        """Is this a valid ``v1a`` signature over the content?"""
        return self.public_key.accepts(signature, content)


SigningSecret = SharedSecret | PrivateKey
VerifyingKey = SharedSecret | PrivateKey | PublicKey


def new_shared_secret() -> SharedSecret:
    """A fresh ``v1`` secret of 32 random bytes."""
    return SharedSecret(secrets.token_bytes(_NEW_SHARED_BYTES))


def new_private_key() -> PrivateKey:
    """A fresh ``v1a`` key."""
    return PrivateKey(Ed25519PrivateKey.generate().private_bytes_raw())


def parse_secret(text: str) -> SigningSecret:
    """Read a secret that can sign: ``whsec_…`` (the prefix may be left out) or ``whsk_…``.

    Raises `SecretMalformed`; its message never repeats the text.
    """
    if text.startswith(_PUBLIC_PREFIX):
        raise SecretMalformed("a public key cannot sign")
    if text.startswith(_PRIVATE_PREFIX):
        raw = _decode(text.removeprefix(_PRIVATE_PREFIX))
        if len(raw) != 64:
            raise SecretMalformed("a private key has 64 bytes: seed and public key")
        key = PrivateKey(raw[:32])
        if key.public_key.key != raw[32:]:
            raise SecretMalformed("the two halves of the private key do not belong together")
        return key
    raw = _decode(text.removeprefix(_SHARED_PREFIX))
    if not _MIN_SHARED_BYTES <= len(raw) <= _MAX_SHARED_BYTES:
        raise SecretMalformed(f"a secret has {_MIN_SHARED_BYTES} to {_MAX_SHARED_BYTES} bytes")
    return SharedSecret(raw)


def parse_verifying_key(text: str) -> VerifyingKey:
    """Read what a subscriber holds: ``whpk_…``, or a secret as `parse_secret` reads it. Raises `SecretMalformed`."""
    if not text.startswith(_PUBLIC_PREFIX):
        return parse_secret(text)
    raw = _decode(text.removeprefix(_PUBLIC_PREFIX))
    if len(raw) != 32:
        raise SecretMalformed("a public key has 32 bytes")
    return PublicKey(raw)


def signed_headers(
    secrets_in_force: Sequence[SigningSecret], *, message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The three headers of one attempt, signed with every secret in force (current first).

    `timestamp` is in seconds since 1970 and is that of the attempt, not of the event.
    """
    if not secrets_in_force:
        raise ValueError("a message needs at least one secret")
    content = _signed_content(message_id, str(timestamp), body)
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: " ".join(secret.sign(content) for secret in secrets_in_force),
    }


def verify(
    keys: Sequence[VerifyingKey],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float,
    tolerance_seconds: int = TOLERANCE_SECONDS,
) -> str:
    """Check one received message and return its id, by which a subscriber drops repeats.

    `headers` in any case, `body` as the raw bytes received, `now` in seconds since 1970. It is enough that one signature
    fits one key; signatures of unknown versions are passed over. Raises `SignatureRefused`.
    """
    folded = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, stamp, signatures = folded[ID_HEADER], folded[TIMESTAMP_HEADER], folded[SIGNATURE_HEADER]
    except KeyError:
        raise SignatureRefused("missing_header") from None
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise SignatureRefused("bad_timestamp")
    if int(stamp) < now - tolerance_seconds:
        raise SignatureRefused("too_old")
    if int(stamp) > now + tolerance_seconds:
        raise SignatureRefused("too_new")
    content = _signed_content(message_id, stamp, body)
    for signature in signatures.split(" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]:
        if any(key.accepts(signature, content) for key in keys):
            return message_id
    raise SignatureRefused("no_match")


def _signed_content(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _decode(text: str) -> bytes:
    """Standard base64, padding optional, as the reference libraries read it."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SecretMalformed("the secret is not base64") from error
