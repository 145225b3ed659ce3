"""`Idempotency-Key`: the same creating POST sent again is answered as the first time, and does nothing.

Follows draft-ietf-httpapi-idempotency-key-header-07. The key's row is written in the transaction of the effects: both are
committed, or neither is. A crash, or a refusal, therefore leaves nothing, and the next try simply does the work. While the
first is under way it holds an advisory lock, and a second one is told so instead of waiting.

What is kept: keyed hashes of key and request, and the answer, sealed – it may be a token that is shown once. `replays.py` is
the door through which requests come here.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Index, LargeBinary, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.core.errors import AppError
from app.core.ids import new_id
from app.core.jobs import declare
from app.core.sealing import HASH_BYTES, Keyring, KeyUnknown, SealBroken

KEPT_FOR = timedelta(hours=24)
"""How long a key is remembered. Published: whoever repeats later than this begins anew."""
MOST_KEY_CHARACTERS = 255
EXPIRED = declare("idempotency_keys.expired")
"""Keys may have grown old; comes round by the clock."""
PURGE_SECONDS = 3_600

_PURPOSE = "idempotency"
# A structured field's string (RFC 9651); many clients send the value bare, and mean the same by it.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,510})"')
_BARE = re.compile(r"[A-Za-z0-9!#$%&'*+./:=?@^_`|~-]{1,255}")


class IdempotencyKeyMalformed(AppError):
    """The `Idempotency-Key` is not one string of 1 to 255 printable characters, such as a UUID in double quotes. Nothing was done."""

    status, code, title = 400, "idempotency_key_malformed", "The Idempotency-Key is not valid"


class IdempotencyKeyInUse(AppError):
    """The first request with this `Idempotency-Key` is still being processed; send this one again after `Retry-After` seconds."""

    status, code, title = 409, "idempotency_key_in_use", "A request with this Idempotency-Key is under way"


class IdempotencyKeyReused(AppError):
    """This `Idempotency-Key` came with another request within the last 24 hours. Nothing was done; make a new key for each request."""

    status, code, title = 422, "idempotency_key_reused", "This Idempotency-Key belongs to another request"


class IdempotencyKey(Base):
    """A key that an account has used, and how its request was answered.

    `account_id` has no foreign key: accounts are a chapter above. The fingerprint is over method, path, query and body.
    """

    __tablename__ = "idempotency_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    key_hash: Mapped[bytes] = mapped_column(LargeBinary)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    answer: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)

    __table_args__ = (Index("uq_idempotency_keys_account_id_key_hash", "account_id", "key_hash", unique=True),)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it was given: status, body, the headers that belong to them, and the route for the log."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    route: str | None


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a key: whose, which, for what."""

    account_id: UUID
    key_hash: bytes
    fingerprint: bytes

    @classmethod
    def of(cls, account_id: UUID, key: str, request: bytes, keyring: Keyring) -> "Use":
        """Return the use of a key for a request (all that tells it from others, in one piece)."""

        # Under the oldest key, so that a rotation of the sealing keys forgets nothing.
        def keyed(what: bytes, content: bytes) -> bytes:
            return keyring.mac(_PURPOSE, what + content, key_id=keyring.index_key_id)[:HASH_BYTES]

        return cls(account_id, keyed(b"key:" + account_id.bytes, key.encode()), keyed(b"request:", request))


def read_key(values: list[str]) -> str:
    """Return the key that a request's `Idempotency-Key` fields give, without quotes.

    Raises:
        IdempotencyKeyMalformed: they give none, or more than one.
    """
    value = values[0].strip(" \t") if len(values) == 1 else ""
    quoted = _QUOTED.fullmatch(value)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else value
    if len(key) > MOST_KEY_CHARACTERS or not (quoted or _BARE.fullmatch(value)):
        raise IdempotencyKeyMalformed
    return key


async def find_answer(session: AsyncSession, use: Use, *, now: datetime, keyring: Keyring) -> Answer | None:
    """Return the answer that this use has had; None if it is the first, which then holds the key until its transaction ends.

    Raises:
        IdempotencyKeyInUse: the first one is under way.
        IdempotencyKeyReused: the key came with another request.
    """
    lock = int.from_bytes(use.key_hash[:8], "big", signed=True)
    if not (await session.execute(select(func.pg_try_advisory_xact_lock(lock)))).scalar_one():
        raise IdempotencyKeyInUse(headers={"Retry-After": "1"})
    named = (IdempotencyKey.account_id == use.account_id, IdempotencyKey.key_hash == use.key_hash)
    row = (await session.execute(select(IdempotencyKey).where(*named))).scalar_one_or_none()
    if row is None:
        return None
    if row.expires_at <= now:
        await session.execute(delete(IdempotencyKey).where(*named))
        return None
    if row.fingerprint != use.fingerprint:
        raise IdempotencyKeyReused
    try:
        told: dict[str, Any] = json.loads(_open(keyring, row))
    except (KeyUnknown, SealBroken):
        # Doing it again could do it twice, and the answer is gone with a key that was taken from the ring.
        raise IdempotencyKeyReused("Its answer can no longer be opened") from None
    headers = [(name, value) for name, value in told["headers"]]
    return Answer(told["status"], headers, told["body"].encode("latin-1"), told["route"])


async def keep_answer(session: AsyncSession, use: Use, answer: Answer, *, now: datetime, keyring: Keyring) -> None:
    """Remember how the first use was answered, in the transaction of its effects."""
    told = {
        "status": answer.status,
        "headers": answer.headers,
        "body": answer.body.decode("latin-1"),
        "route": answer.route,
    }
    row_id = new_id()
    session.add(
        IdempotencyKey(
            id=row_id,
            account_id=use.account_id,
            key_hash=use.key_hash,
            fingerprint=use.fingerprint,
            answer=keyring.seal(
                json.dumps(told).encode(), table=IdempotencyKey.__tablename__, row=row_id, column="answer"
            ),
            created_at=now,
            expires_at=now + KEPT_FOR,
        )
    )
    await session.flush()


async def purge(session: AsyncSession, *, now: datetime) -> int:
    """Delete the keys that have expired; return how many."""
    gone = await session.execute(
        delete(IdempotencyKey).where(IdempotencyKey.expires_at <= now).returning(IdempotencyKey.id)
    )
    return len(gone.all())


def _open(keyring: Keyring, row: IdempotencyKey) -> bytes:
    return keyring.open(row.answer, table=IdempotencyKey.__tablename__, row=row.id, column="answer")
