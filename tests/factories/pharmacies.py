"""Synthetic pharmacies, enrolled by the same verb that enrols real ones."""

from datetime import date
from typing import Any
from uuid import UUID

from app.auth.rules import SYSTEM
from app.core.database import Database
from app.pharmacies.rules import uscc_check_character
from app.pharmacies.schemas import PharmacyIn
from app.pharmacies.service import enrol_pharmacy
from tests.conftest import MOMENT
from tests.factories.divisions import SHATOU


def credit_code(number: int) -> str:
    """Return a synthetic credit code with the right check character."""
    first = f"91440300MA{number:07d}"
    return first + uscc_check_character(first)


def pharmacy_body(number: int = 1, **members: Any) -> dict[str, Any]:
    """Return a body of POST /v1/pharmacies."""
    return {
        "name": f"福田区演示药房 {number:02d} 号店",
        "uscc": credit_code(number),
        "licence_number": f"粤DA755{number:04d}",
        "division": SHATOU,
        "address": f"沙头街道演示路 {number} 号",
        "location": {"lat": 22.53, "lon": 114.03},
        "chain": None,
        "enrolled_on": "2026-01-01",
    } | members


async def enrolled(database: Database, number: int = 1, division: str = SHATOU, on: date = date(2026, 1, 1)) -> UUID:
    """Enrol a pharmacy; return its id. The division must have been loaded."""
    body = PharmacyIn.model_validate(pharmacy_body(number, division=division, enrolled_on=on))
    async with database.transaction() as session:
        return (await enrol_pharmacy(session, body, actor=SYSTEM, now=MOMENT)).id
