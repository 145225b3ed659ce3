"""The doors for corrections and voids, and for what proves that anything was received at all."""

import base64
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.guards import requires
from app.auth.rules import Actor, Permission, Role
from app.core.errors import FieldError, InvalidRequest, NotFound
from app.core.http import Built, Keys, Now, Router, Transaction
from app.core.languages import preferred, said_in
from app.core.pagination import Page, Paging, row_number
from app.pharmacies.queries import PHARMACIES
from app.registrations import queries
from app.registrations.chain import PURPOSE, Receipt, key_id_of
from app.registrations.corrections import RegistrationVoided, correct_registration, void_registration
from app.registrations.queries import Visible
from app.registrations.receipt_schemas import PublicKeyOut, PublicKeysOut, ReceiptFilter, ReceiptOut, ReceiptsOut
from app.registrations.receipts import find_receipts, list_receipts, sign
from app.registrations.routes import answer_of
from app.registrations.schemas import (
    CorrectionIn,
    RegistrationAnswer,
    VoidAnswer,
    VoidIn,
)

router = Router(prefix="/v1", tags=["registrations"])

Till = Annotated[Actor, Depends(requires(Permission.REGISTER))]
Holder = Annotated[Actor, Depends(requires(Permission.READ_RECEIPTS))]


@router.post(
    "/registrations/{registration_id}/corrections",
    status_code=201,
    responses={
        200: {"model": RegistrationAnswer, "description": "The same correction again: the same answer"},
        409: {"description": RegistrationVoided.title},
    },
)
async def correct(
    registration_id: UUID,
    correction: CorrectionIn,
    session: Transaction,
    actor: Till,
    now: Now,
    built: Built,
    response: Response,
    accept_language: Annotated[str | None, Header()] = None,
) -> RegistrationAnswer:
    """Say what a registration should have been: a new revision. The earlier ones stay, with the reason.

    From now on the new one is compared with cases. `received_at` stays that of the first; the receipt tells when this came.
    """
    recorded, row = await correct_registration(
        session, registration_id, correction, actor=actor, now=now, keyring=built.keyring
    )
    if recorded.duplicate:
        response.status_code = 200
    language = preferred(accept_language)
    response.headers.update(said_in(language))
    return answer_of(recorded, row, built, language)


@router.post("/registrations/{registration_id}/void")
async def void(
    registration_id: UUID, void: VoidIn, session: Transaction, actor: Till, now: Now, keyring: Keys
) -> VoidAnswer:
    """Say that a registration does not hold. It stays visible, and counts for nothing; its matches are withdrawn."""
    voided = await void_registration(session, registration_id, void, actor=actor, now=now, keyring=keyring)
    return VoidAnswer(
        id=voided.id,
        revision=voided.revision,
        voided_at=voided.voided_at,
        reason=voided.reason,
        receipt=sign(voided.receipt, keyring),
    )


@router.get("/registrations/{registration_id}/receipt")
async def get_receipt(registration_id: UUID, session: Transaction, actor: Holder, keyring: Keys) -> ReceiptsOut:
    """Show what proves when a registration was received: the newest receipt, and those of earlier revisions."""
    await queries.require_visible(session, registration_id, visible=Visible.to(actor))
    receipts = (await find_receipts(session, [registration_id], keyring))[registration_id]
    if not receipts:
        raise NotFound("It was received before there were receipts")
    *earlier, newest = _told(receipts, actor, keyring)
    return ReceiptsOut(**dict(newest), earlier=earlier)


@router.get("/receipts", responses={404: {"description": NotFound.title}})
async def list_pharmacy_receipts(
    session: Transaction,
    actor: Holder,
    keyring: Keys,
    filters: Annotated[ReceiptFilter, Query()],
    paging: Paging,
) -> Page[ReceiptOut]:
    """List a pharmacy's receipts in the order of its chain, each signed; `sentinel receipts verify` reads them line by line."""
    pharmacy_id = await _pharmacy(session, filters.pharmacy, actor)
    after = paging.after(row_number) or 0
    rows = await list_receipts(session, pharmacy_id, after=after, limit=paging.wanted, keyring=keyring)
    shown, cursor = paging.cut(rows, lambda row: (row.link.number,))
    return Page(items=_told(shown, actor, keyring), next_cursor=cursor)


@router.get("/receipts/keys")
async def list_receipt_keys(keyring: Keys) -> PublicKeysOut:
    """Show the public keys of receipts, as a JSON Web Key Set. No token is needed; keep a copy."""
    return PublicKeysOut(keys=[_published(keyring.public_key(PURPOSE, key_id)) for key_id in keyring.key_ids])


def _published(public: bytes) -> PublicKeyOut:
    x = base64.urlsafe_b64encode(public).decode().rstrip("=")
    return PublicKeyOut(kid=key_id_of(public), kty="OKP", crv="Ed25519", alg="EdDSA", use="sig", x=x)


def _told(receipts: Sequence[Receipt], actor: Actor, keyring: Keys) -> list[ReceiptOut]:
    # With the salt an auditor could try who it was; without it the receipt is checked all the same.
    return [sign(receipt, keyring, with_salt=actor.role is Role.PHARMACY) for receipt in receipts]


async def _pharmacy(session: AsyncSession, wanted: UUID | None, actor: Actor) -> UUID:
    known = await PHARMACIES.get(session)
    if actor.role is Role.PHARMACY:
        allowed = {one: known[one] for one in actor.pharmacy_ids if one in known}
    else:
        allowed = {one: facts for one, facts in known.items() if actor.sees(facts.division)} if wanted else {}
    if wanted is None and len(allowed) == 1:
        return next(iter(allowed))
    if wanted is None:
        raise InvalidRequest(errors=[FieldError("?pharmacy", "required", "Name the pharmacy whose receipts you want")])
    if wanted not in allowed:
        raise NotFound
    return wanted
