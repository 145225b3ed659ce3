"""Registrations, cases and matches as rows, for tests that need to choose every fact that a reward depends on."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.cases.models import Case
from app.cases.rules import Classification
from app.catalogue.models import DrugList, ListedDrug
from app.catalogue.vocabulary import DrugKind
from app.core.ids import new_id
from app.core.sealing import Keyring
from app.matching.models import Match
from app.people.rules import Presentation, prepare
from app.people.schemas import PersonIn
from app.people.service import ensure_people
from app.pharmacies.models import Pharmacy, PharmacyStanding, RosterEntry
from app.registrations.models import Registration, RegistrationItem
from tests.conftest import MOMENT
from tests.factories.divisions import SHATOU

CONFIRMED = MOMENT
PURCHASED = MOMENT - timedelta(days=2)


@dataclass
class World:
    """Writes rows; what is not said is as it should be, so that a reward is due."""

    session: AsyncSession
    keyring: Keyring
    pharmacies: int = 0
    registrations: int = 0
    cases: int = 0
    drug: UUID | None = field(default=None)

    async def person(self, name: str, phone: str) -> UUID:
        """A synthetic person: the phone prefix 154 is given to nobody."""
        prepared = prepare(PersonIn.model_validate({"name": name, "phone": phone}), MOMENT.date())
        assert isinstance(prepared, Presentation)
        return (await ensure_people(self.session, [prepared], now=MOMENT, keyring=self.keyring))[0]

    async def pharmacy(self, division: str = SHATOU, name: str | None = None) -> UUID:
        """A pharmacy, active since 2026-01-01."""
        self.pharmacies += 1
        pharmacy = new_id()
        await self.session.execute(
            insert(Pharmacy).values(
                id=pharmacy,
                name=name or f"合成药房{self.pharmacies}",
                uscc=f"91440300MA5SYN{self.pharmacies:04d}",
                licence_number=f"SYN{self.pharmacies}",
                division=division,
                address="Synthetic",
                enrolled_on=date(2026, 1, 1),
                created_at=MOMENT,
            )
        )
        await self.standing(pharmacy, "active", date(2026, 1, 1), number=1)
        return pharmacy

    async def standing(self, pharmacy: UUID, standing: str, valid_from: date, *, number: int) -> None:
        """One statement about a pharmacy's standing."""
        await self.session.execute(
            insert(PharmacyStanding).values(
                pharmacy_id=pharmacy,
                number=number,
                standing=standing,
                valid_from=valid_from,
                reason="synthetic",
                recorded_at=MOMENT,
            )
        )

    async def employ(self, pharmacy: UUID, person: UUID, valid_from: date, valid_to: date | None = None) -> None:
        """Put somebody on a roster."""
        await self.session.execute(
            insert(RosterEntry).values(pharmacy_id=pharmacy, person_id=person, valid_from=valid_from, valid_to=valid_to)
        )

    async def registration(
        self,
        pharmacy: UUID,
        *,
        buyer: UUID | None = None,
        purchased_at: datetime = PURCHASED,
        received_at: datetime | None = None,
        flags: list[str] | None = None,
        listed: bool = True,
    ) -> UUID:
        """A registration with one listed item, complete and in time."""
        self.registrations += 1
        registration = new_id()
        division = await self.session.scalar(select(Pharmacy.division).where(Pharmacy.id == pharmacy))
        await self.session.execute(
            insert(Registration).values(
                id=registration,
                pharmacy_id=pharmacy,
                client_reference=f"SYN-{self.registrations}",
                content_digest=b"synthetic",
                revision=1,
                division=division,
                regime="register",
                buyer_id=buyer or await self.person(f"合成{self.registrations}", f"154{self.registrations:08d}"),
                purchased_at=purchased_at,
                received_at=received_at or purchased_at + timedelta(minutes=2),
                symptoms=[],
                flags=flags or [],
            )
        )
        if listed:
            await self._item(registration)
        return registration

    async def _item(self, registration: UUID) -> None:
        if self.drug is None:
            self.drug = await self._list_drug()
        await self.session.execute(
            insert(RegistrationItem).values(
                registration_id=registration, line=0, drug_id=self.drug, resolved_by="name", quantity=1
            )
        )

    async def _list_drug(self) -> UUID:
        drug_list, drug = new_id(), new_id()
        await self.session.execute(
            insert(DrugList).values(
                id=drug_list,
                code="synthetic",
                version=1,
                name="Synthetic list",
                division="4403",
                valid_from=date(2020, 1, 1),
                source="synthetic",
                shipped=False,
                digest=b"synthetic",
                loaded_at=MOMENT,
            )
        )
        await self.session.execute(
            insert(ListedDrug).values(
                id=drug,
                list_id=drug_list,
                position=1,
                wording="布洛芬",
                kind=DrugKind.CHEMICAL,
                name_en="Ibuprofen",
                syndrome="fever",
                confirmed=True,
            )
        )
        return drug

    async def match(
        self, case: UUID, registration: UUID, *, strength: str = "certain", status: str = "counted", role: str = "buyer"
    ) -> None:
        """A match between a case and a registration."""
        division = await self.session.scalar(select(Registration.division).where(Registration.id == registration))
        await self.session.execute(
            insert(Match).values(
                id=new_id(),
                case_id=case,
                registration_id=registration,
                role=role,
                strength=strength,
                status=status,
                turn=1,
                evidence={},
                rule="synthetic",
                division=division,
                created_at=MOMENT,
                changed_at=MOMENT,
            )
        )

    async def case(self, confirmed_at: datetime | None = CONFIRMED, division: str = SHATOU) -> UUID:
        """A case, confirmed unless there is no time of confirmation."""
        self.cases += 1
        case = new_id()
        await self.session.execute(
            insert(Case).values(
                id=case,
                authority="440304-CDC",
                case_number=f"SYN-{self.cases}",
                disease="covid-19",
                person_id=await self.person(f"合成病例{self.cases}", f"1549{self.cases:07d}"),
                classification=Classification.SUSPECTED if confirmed_at is None else Classification.CONFIRMED,
                confirmed_at=confirmed_at,
                division=division,
                received_at=MOMENT,
                updated_at=MOMENT,
            )
        )
        return case

    async def classify(self, case: UUID, classification: str, confirmed_at: datetime | None = None) -> None:
        """Reclassify a case; discarding it withdraws its matches, confirming it brings them back."""
        await self.session.execute(
            update(Case).where(Case.id == case).values(classification=classification, confirmed_at=confirmed_at)
        )
        status = "withdrawn" if classification == "discarded" else "counted"
        await self.session.execute(update(Match).where(Match.case_id == case).values(status=status))
