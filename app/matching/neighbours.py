"""Neighbours: people who may be the same although no hash of theirs says so. Their identities are opened and compared here.

Nothing of what is opened leaves this module but ids and findings. Blocks come from keyed hashes: marks of documents that nothing
checks, and phones under which there are several names. Names are compared as names, once each: a till that writes one phone for
thousands of customers costs a look at each of them, never one at each two.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import driver
from app.core.sealing import Keyring
from app.matching.alikeness import shape, sounds
from app.matching.passes import Finding, look_closer
from app.people.queries import open_people
from app.people.rules import Identity

Neighbours = Mapping[tuple[UUID, UUID], Finding | None]
"""By the presented person and the listed one; None where they share phone and name, of which their hashes tell."""

# Asked of each one, by the index: as a join, the planner might read all cases.
_ON_A_LIST = "(SELECT true FROM cases WHERE cases.person_id = there.id LIMIT 1)"

# Who showed a number that nothing checks shares a mark with each neighbour of the same name. A resident number that was shown in
# 15 digits has one mark, the name: all numbers of that name that were shown in 18 are looked at. Marks are few, and for a whole list they are
# read from end to end. `OFFSET 0` keeps each look at people a look into an index: few have marks, which the planner does not know, and it
# would read all people instead.
#
# Everybody under the phones is looked up once, in one scan of the index with all phones together. Of one name they are one person, if
# documents do not part them. Of different names they are compared, unless both showed a resident number: these are one person or two, and
# need no look.
_NEIGHBOURS = """
WITH here AS MATERIALIZED (
    SELECT id, name_hash, document_hash, document_type, phone_hash, encode(name_hash, 'hex') AS name
    FROM people WHERE id = ANY($1::uuid[]) AND name_hash IS NOT NULL
), mine AS MATERIALIZED (
    SELECT here.id, here.name_hash, here.document_hash, mark.hash
    FROM here JOIN document_marks mark ON mark.person_id = here.id
), old_forms AS MATERIALIZED (
    SELECT here.id, here.document_hash, mark.person_id
    FROM here JOIN document_marks mark ON mark.hash = here.name_hash
    WHERE here.document_type IN ('resident_id', 'medical_insurance_card')
), near AS (
    SELECT mine.id AS here, there.id AS there
    FROM mine
    CROSS JOIN LATERAL (SELECT person_id FROM document_marks WHERE hash = mine.hash OFFSET 0) AS theirs
    CROSS JOIN LATERAL (SELECT id, document_hash FROM people WHERE id = theirs.person_id OFFSET 0) AS there
    WHERE there.document_hash <> mine.document_hash AND {only}
    UNION
    SELECT mine.id, there.id
    FROM mine
    CROSS JOIN LATERAL (
        SELECT id, document_hash FROM people
        WHERE name_hash = mine.hash AND document_type IN ('resident_id', 'medical_insurance_card') OFFSET 0
    ) AS there
    WHERE mine.hash = mine.name_hash AND there.document_hash <> mine.document_hash AND {only}
    UNION
    SELECT old_forms.id, there.id
    FROM old_forms
    CROSS JOIN LATERAL (SELECT id, document_hash FROM people WHERE id = old_forms.person_id OFFSET 0) AS there
    WHERE there.document_hash <> old_forms.document_hash AND {only}
), phones AS MATERIALIZED (
    SELECT phone_hash, min(name) AS first, max(name) AS last, bool_or(document_type IS DISTINCT FROM 'resident_id') AS open
    FROM here WHERE phone_hash IS NOT NULL GROUP BY phone_hash
), found AS MATERIALIZED (
    SELECT there.id, there.phone_hash, encode(there.name_hash, 'hex') AS name, there.document_type
    FROM people there
    WHERE there.phone_hash = ANY(ARRAY(SELECT phone_hash FROM phones)) AND there.name_hash IS NOT NULL AND {only}
), under AS MATERIALIZED (
    SELECT found.id, phone_hash, found.name,
           (first <> last OR found.name <> first) AND (open OR document_type IS DISTINCT FROM 'resident_id') AS compared
    FROM phones JOIN found USING (phone_hash)
)
SELECT 'near' AS what, here AS id, NULL::bytea AS phone_hash, there FROM near
UNION ALL
SELECT 'ours', id, phone_hash, NULL FROM here WHERE phone_hash IN (SELECT phone_hash FROM under WHERE compared)
UNION ALL
SELECT 'theirs', id, phone_hash, NULL FROM under WHERE compared
UNION ALL
SELECT 'namesake', here.id, NULL, under.id FROM here JOIN under USING (phone_hash, name) WHERE under.id <> here.id
"""


@dataclass(frozen=True, slots=True)
class _Phone:
    """The names under one phone, on the side that is asked for and on the other; each with those who bear it."""

    ours: defaultdict[str, list[UUID]]
    theirs: defaultdict[str, list[UUID]]


async def neighbours_of_presented(session: AsyncSession, people: Collection[UUID], keyring: Keyring) -> Neighbours:
    """Return the people on case lists who may be one of these, whom nothing but a closer look tells."""
    found = await _look(session, people, _ON_A_LIST, keyring)
    return {(ours, theirs): finding for ours, theirs, finding in found}


async def neighbours_of_listed(session: AsyncSession, people: Collection[UUID], keyring: Keyring) -> Neighbours:
    """Return the people of registrations who may be one of these, whom nothing but a closer look tells."""
    found = await _look(session, people, "true", keyring)
    return {(theirs, ours): finding for ours, theirs, finding in found}


async def _look(
    session: AsyncSession, people: Collection[UUID], only: str, keyring: Keyring
) -> list[tuple[UUID, UUID, Finding | None]]:
    connection = await driver(session)
    rows: defaultdict[str, list[Any]] = defaultdict(list)
    for row in await connection.fetch(_NEIGHBOURS.format(only=only), list(people)):
        rows[row["what"]].append(row)
    near = [(row["id"], row["there"]) for row in rows["near"]]
    under_phones = [*rows["ours"], *rows["theirs"]]
    namesakes: list[tuple[UUID, UUID, Finding | None]] = [(row["id"], row["there"], None) for row in rows["namesake"]]
    involved = {one for pair in near for one in pair} | {row["id"] for row in under_phones}
    if not involved:
        return namesakes
    identities = await open_people(session, involved, keyring)
    pairs = dict.fromkeys((*near, *_alike(under_phones, identities)))
    found = ((ours, theirs, look_closer(identities[ours], identities[theirs])) for ours, theirs in pairs)
    # Last, so that what a closer look has found of two stands.
    return [*namesakes, *(one for one in found if one[2] is not None)]


def _alike(rows: Iterable[Any], identities: Mapping[UUID, Identity]) -> Iterator[tuple[UUID, UUID]]:
    """Yield the pairs under each phone whose names may sound or look alike."""
    phones: defaultdict[bytes, _Phone] = defaultdict(lambda: _Phone(defaultdict(list), defaultdict(list)))
    for row in rows:
        phone = phones[row["phone_hash"]]
        name = identities[row["id"]].name_comparable
        if name is not None:
            (phone.ours if row["what"] == "ours" else phone.theirs)[name].append(row["id"])
    ways: dict[str, frozenset[str]] = {}
    for phone in phones.values():
        for name in (*phone.ours, *phone.theirs):
            if name not in ways:
                ways[name] = sounds(name) | {f"={shape(name)}"}
        by_way: defaultdict[str, list[str]] = defaultdict(list)
        for name in phone.theirs:
            for way in ways[name]:
                by_way[way].append(name)
        for name, ours in phone.ours.items():
            others = {other for way in ways[name] for other in by_way.get(way, ()) if other != name}
            yield from ((one, there) for other in others for one in ours for there in phone.theirs[other])
