"""Receipts and public keys as they are told."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from app.core.schemas import Filter, Out


class ReceiptOut(Out):
    """A signed statement of what was received and when; bytes are written in hexadecimal.

    `hash` is that of this link of the pharmacy's chain, `previous` that of the one before. `salt` opens `commitment`, and is told to
    the pharmacy alone. How to check it all: `sentinel receipts verify`.
    """

    format: Literal["sentinel-receipt-1"]
    pharmacy_id: UUID
    number: int
    previous: str
    kind: Literal["recorded", "corrected", "voided"]
    registration_id: UUID
    client_reference: str
    revision: int
    received_at: datetime
    commitment: str
    hash: str
    key_id: str
    signature: str
    salt: str | None


class ReceiptsOut(ReceiptOut):
    """The newest receipt of a registration, and those of earlier revisions, the first one first."""

    earlier: list[ReceiptOut]


class RowReceipt(Out):
    """A batch row's link in the pharmacy's chain; the rest of it is told in `receipts`."""

    number: int
    commitment: str
    salt: str


class ReceiptHeadOut(Out):
    """Links of one pharmacy that follow each other, `first` to `number`, and the signature over the last one's `hash`.

    `previous` is the hash before the first.
    """

    pharmacy_id: UUID
    first: int
    previous: str
    received_at: datetime
    number: int
    hash: str
    key_id: str
    signature: str


class PublicKeyOut(Out):
    """A public key as a JSON Web Key (RFC 7517, RFC 8037); `kid` is the `key_id` of receipts."""

    kid: str
    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    alg: Literal["EdDSA"]
    use: Literal["sig"]
    x: str


class PublicKeysOut(Out):
    """The keys under which receipts were and are signed, the current one last. Keep a copy: a receipt is checked with it."""

    keys: list[PublicKeyOut]


class ReceiptFilter(Filter):
    """Whose receipts to show. A till's key names one pharmacy; everybody else names it here."""

    pharmacy: UUID | None = None
