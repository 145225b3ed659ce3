"""What a buyer has bought before of drugs whose repeated purchase somebody wants to know of.

One statement for a whole batch, and none unless a drug in it has such a limit. It reads what is committed: of two purchases that
arrive in the same moment at two pharmacies neither need see the other.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.catalogue.directory import Directory
from app.core.clock import china_day
from app.core.database import driver
from app.core.errors import FieldError
from app.core.sealing import HashKind, Keyring
from app.people.rules import Presentation
from app.registrations.drafts import Draft
from app.registrations.rules import most_in_a_row
from app.registrations.schemas import Flag

# The buyer as `people.queries.buyers_of` has it: the same document, or, of those without one, the same phone and name.
_BOUGHT = """
SELECT w.number, r.id, r.purchased_at, i.drug_id, sum(i.quantity)::int AS quantity
FROM unnest($1::int[], $2::bytea[], $3::bytea[], $4::bytea[]) AS w (number, document_hash, phone_hash, name_hash)
CROSS JOIN LATERAL (
    SELECT id FROM people p WHERE p.document_hash = w.document_hash
    UNION ALL
    SELECT id FROM people p
    WHERE w.document_hash IS NULL AND p.document_hash IS NULL
    AND p.phone_hash = w.phone_hash AND p.name_hash = w.name_hash
) AS shown
JOIN registrations r ON r.buyer_id = shown.id AND r.voided_at IS NULL AND r.purchased_at BETWEEN $5 AND $6
JOIN registration_items i ON i.registration_id = r.id AND i.drug_id = ANY($7::uuid[])
GROUP BY w.number, r.id, r.purchased_at, i.drug_id
"""

_Marks = tuple[bytes | None, bytes | None, bytes | None]
_Bought = defaultdict[tuple[_Marks, UUID], list[tuple[date, int]]]
"""What a buyer has bought of an entry, whichever version of its list it stood in: days and packs."""


async def note_repeats(
    session: AsyncSession, drafts: Sequence[Draft], catalogue: Directory, *, keyring: Keyring
) -> None:
    """Flag the drafts with which a buyer has bought more of a drug, within so many days, than its limit allows.

    A buyer of whom neither a document nor phone and name are known is nobody's repetition, nor is what a sandbox sends.
    """
    if not catalogue.limits_buyers:
        return
    limited = [
        (draft, marks)
        for draft in drafts
        if not draft.named.pharmacy.sandbox
        and any(_limited_lines(draft, catalogue))
        and (marks := _marks_of(draft.people.buyer, keyring)) is not None
    ]
    if not limited:
        return
    bought = await _find_bought(session, limited, catalogue)
    for draft, marks in limited:
        day = china_day(draft.named.submission.row.purchased_at)
        exceeded = []
        for line, entry, quantity, most, days in list(_limited_lines(draft, catalogue)):
            known = bought[marks, entry]
            known.append((day, quantity))
            if most_in_a_row(known, day, days) > most:
                detail = f"The buyer has bought more than {most} of this drug within {days} days"
                exceeded.append(FieldError(f"/items/{line}", "repeated_purchase", detail))
        if exceeded:
            draft.warnings += exceeded
            draft.flags = [flag for flag in Flag if flag in draft.flags or flag is Flag.REPEATED_PURCHASE]


async def _find_bought(session: AsyncSession, limited: Sequence[tuple[Draft, _Marks]], catalogue: Directory) -> _Bought:
    buyers = list(dict.fromkeys(marks for _, marks in limited))
    times = [draft.named.submission.row.purchased_at for draft, _ in limited]
    longest = timedelta(0)
    drugs: set[UUID] = set()
    for draft, _ in limited:
        for _, entry, _, _, days in _limited_lines(draft, catalogue):
            longest = max(longest, timedelta(days=days))
            drugs.update(catalogue.versions_of(entry))
    rows = await (await driver(session)).fetch(
        _BOUGHT,
        list(range(len(buyers))),
        [marks[0] for marks in buyers],
        [marks[1] for marks in buyers],
        [marks[2] for marks in buyers],
        min(times) - longest,
        max(times) + longest,
        list(drugs),
    )
    itself = {draft.id for draft, _ in limited}  # a correction stands there already
    bought: _Bought = defaultdict(list)
    for row in rows:
        if row["id"] not in itself:
            entry = catalogue.newest_of(row["drug_id"])
            bought[buyers[row["number"]], entry].append((china_day(row["purchased_at"]), row["quantity"]))
    return bought


def _limited_lines(draft: Draft, catalogue: Directory) -> Iterator[tuple[int, UUID, int, int, int]]:
    """Yield line, entry, quantity, the most, and the days within which, of each line with such a limit."""
    for line, found in enumerate(draft.resolutions):
        limit = None if found.drug_id is None else catalogue.drug(found.drug_id).limit
        if found.drug_id is not None and limit and limit.most_per_buyer is not None and limit.within_days is not None:
            quantity = draft.named.submission.row.items[line].quantity
            yield line, catalogue.newest_of(found.drug_id), quantity, limit.most_per_buyer, limit.within_days


def _marks_of(buyer: Presentation, keyring: Keyring) -> _Marks | None:
    if buyer.document is not None:
        return keyring.hash(HashKind.DOCUMENT, buyer.document.comparable), None, None
    if buyer.phone is None or buyer.name is None:
        return None
    return (
        None,
        keyring.hash(HashKind.PHONE, buyer.phone.comparable),
        keyring.hash(HashKind.NAME, buyer.name.comparable),
    )
