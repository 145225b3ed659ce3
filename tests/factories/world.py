"""A small synthetic city in which purchases are registered: divisions, drug lists, a regime, pharmacies, a token per role."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from app.auth.rules import SYSTEM
from app.catalogue import imports as catalogue
from app.core.database import Database
from app.regimes.schemas import RegimeIn
from app.regimes.service import declare_regime
from tests.conftest import MOMENT
from tests.factories import keys
from tests.factories.divisions import FUTIAN, load_divisions
from tests.factories.pharmacies import enrolled

DISEASE = "covid-19"


@dataclass(slots=True)
class World:
    """What a test needs to know about the city."""

    database: Database
    pharmacies: list[UUID]
    tills: list[str]
    tokens: Mapping[str, str]
    _count: int = field(default=0)

    def purchase(self, **members: Any) -> dict[str, Any]:
        """A complete purchase of ibuprofen by a synthetic buyer; each has a reference of its own."""
        self._count += 1
        return a_purchase(f"SYN-{self._count:06d}") | members


def a_purchase(reference: str = "SYN-000001", **members: Any) -> dict[str, Any]:
    """A body of POST /v1/registrations. The identity is synthetic."""
    return {
        "client_reference": reference,
        "purchased_at": "2026-02-15T09:41:07+08:00",
        "buyer": a_person(),
        "temperature_c": 36.6,
        "items": [{"name": "布洛芬缓释胶囊", "quantity": 1}],
    } | members


def a_person(**members: Any) -> dict[str, Any]:
    """A synthetic person with everything that a regime may require."""
    return {
        "name": "王小样",
        "document": {"type": "resident_id", "number": "11010519491231002X"},
        "phone": "13800138000",
        "address": {"division": "440304005", "line": "沙头街道合成花园 3 栋"},
    } | members


def a_case(number: str = "SYN-001", **members: Any) -> dict[str, Any]:
    """A body of POST /v1/cases about the same synthetic person, confirmed after the test's moment."""
    return {
        "authority": "440304-CDC",
        "case_number": number,
        "disease": DISEASE,
        "classification": "confirmed",
        "person": {key: value for key, value in a_person().items() if key != "address"},
        "onset_on": "2026-02-14",
        "confirmed_at": "2026-02-17T20:10:00+08:00",
        "division": "440304005",
    } | members


async def build_world(database: Database, *, pharmacies: int = 1, state: str = "register") -> World:
    """Build the city through the verbs that build a real one."""
    await load_divisions(database)
    async with database.transaction() as session:
        await catalogue.load_shipped(session, actor=SYSTEM, now=MOMENT)
    async with database.transaction() as session:
        declared = RegimeIn.model_validate(
            {"division": FUTIAN, "disease": DISEASE, "state": state, "valid_from": date(2026, 1, 1), "valid_to": None}
        )
        await declare_regime(session, declared, actor=SYSTEM, now=MOMENT)
    ids = [await enrolled(database, number) for number in range(1, pharmacies + 1)]
    tills = [await keys.token(database, "pharmacy", pharmacy_ids=[pharmacy]) for pharmacy in ids]
    roles = ("health_authority", "epidemiologist", "official", "auditor", "admin")
    tokens = {role: await keys.token(database, role, FUTIAN) for role in roles}
    tokens["second_official"] = await keys.token(database, "official", FUTIAN, name="Synthetic second official")
    return World(database, ids, tills, tokens)
