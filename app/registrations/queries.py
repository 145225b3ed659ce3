"""Looking at registrations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.rules import Actor, Role
from app.catalogue.models import ListedDrug
from app.core.errors import NotFound
from app.registrations.models import Registration, RegistrationItem, RegistrationRevision
from app.registrations.schemas import (
    ItemOut,
    RegistrationDetail,
    RegistrationFilter,
    RegistrationOut,
    RevisionOut,
)

REAL = Registration.sandbox.is_(False)
"""What is no till's trial. Every look at registrations of more than one pharmacy has this condition."""


@dataclass(frozen=True, slots=True)
class Visible:
    """Which registrations somebody may see: the real ones of a division, or those of its own pharmacies."""

    division: str | None
    pharmacy_ids: frozenset[UUID] | None

    @classmethod
    def to(cls, actor: Actor) -> "Visible":
        """Return what an actor may see."""
        return cls(actor.division, actor.pharmacy_ids if actor.role is Role.PHARMACY else None)

    def restrict(self, query: Select[Any]) -> Select[Any]:
        """Return the query without what may not be seen."""
        if self.pharmacy_ids is not None:
            return query.where(Registration.pharmacy_id.in_(self.pharmacy_ids))
        query = query.where(REAL)
        return query.where(Registration.division.startswith(self.division)) if self.division else query


async def list_registrations(
    session: AsyncSession, *, visible: Visible, filters: RegistrationFilter, limit: int, before: UUID | None
) -> list[RegistrationOut]:
    """Return registrations, the last received first (ids are in order of receipt)."""
    query = visible.restrict(select(Registration)).order_by(Registration.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Registration.id < before)
    query = _matching(query, filters)
    rows = (await session.execute(query)).scalars().all()
    return await _shown(session, rows)


async def get_registration(session: AsyncSession, registration_id: UUID, *, visible: Visible) -> RegistrationDetail:
    """Return one registration with its earlier revisions.

    Raises:
        NotFound: there is none, or it may not be seen.
    """
    query = visible.restrict(select(Registration)).where(Registration.id == registration_id)
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        raise NotFound
    [shown] = await _shown(session, [row])
    former = await session.scalars(
        select(RegistrationRevision)
        .where(RegistrationRevision.registration_id == row.id)
        .order_by(RegistrationRevision.revision)
    )
    return RegistrationDetail(
        **dict(shown),
        void_reason=row.void_reason,
        revisions=[
            RevisionOut.model_validate(
                {name: getattr(one, name) for name in RevisionOut.model_fields if name != "items"}
                | {"items": [{name: item[name] for name in ItemOut.model_fields} for item in one.items]}
            )
            for one in former
        ],
    )


async def require_visible(session: AsyncSession, registration_id: UUID, *, visible: Visible) -> None:
    """Make sure that a registration is there and may be seen.

    Raises:
        NotFound: there is none, or it may not be seen.
    """
    query = visible.restrict(select(Registration.id)).where(Registration.id == registration_id)
    if (await session.execute(query)).scalar_one_or_none() is None:
        raise NotFound


def _matching(query: Select[Registration], filters: RegistrationFilter) -> Select[Registration]:
    item = select(RegistrationItem.registration_id).where(RegistrationItem.registration_id == Registration.id)
    in_class = item.join(ListedDrug, ListedDrug.id == RegistrationItem.drug_id)
    hot = filters.temperature_from
    conditions: list[tuple[object, Callable[[], ColumnElement[bool]]]] = [
        (filters.division, lambda: Registration.division.startswith(filters.division)),
        (filters.pharmacy, lambda: Registration.pharmacy_id == filters.pharmacy),
        (filters.drug, lambda: item.where(RegistrationItem.drug_id == filters.drug).exists()),
        (filters.drug_class, lambda: in_class.where(ListedDrug.syndrome == filters.drug_class).exists()),
        (filters.purchased_from, lambda: Registration.purchased_at >= filters.purchased_from),
        (filters.purchased_to, lambda: Registration.purchased_at < filters.purchased_to),
        (filters.received_from, lambda: Registration.received_at >= filters.received_from),
        (filters.received_to, lambda: Registration.received_at < filters.received_to),
        (hot, lambda: or_(Registration.temperature_c >= hot, Registration.patient_temperature_c >= hot)),
        (filters.flag, lambda: Registration.flags.contains([filters.flag])),
    ]
    return query.where(*(condition() for given, condition in conditions if given is not None))


async def _shown(session: AsyncSession, rows: Sequence[Registration]) -> list[RegistrationOut]:
    items: dict[UUID, list[ItemOut]] = {row.id: [] for row in rows}
    found = await session.execute(
        select(RegistrationItem, ListedDrug.wording)
        .join(ListedDrug, ListedDrug.id == RegistrationItem.drug_id)
        .where(RegistrationItem.registration_id.in_(items))
        .order_by(RegistrationItem.registration_id, RegistrationItem.line)
    )
    for item, drug in found:
        items[item.registration_id].append(
            ItemOut(
                line=item.line,
                drug_id=item.drug_id,
                drug=drug,
                quantity=item.quantity,
                resolved_by=item.resolved_by,
                gtin=item.gtin,
                approval_number=item.approval_number,
                batch=item.batch,
                trace_codes=item.trace_codes,
            )
        )
    columns = [name for name in RegistrationOut.model_fields if name != "items"]
    return [
        RegistrationOut.model_validate({**{name: getattr(row, name) for name in columns}, "items": items[row.id]})
        for row in rows
    ]
