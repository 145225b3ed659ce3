"""Tables of the pharmacies: the sites, what was said about their standing, who works there."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, SmallInteger, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.auth.models import Account
from app.core import jobs
from app.core.database import Base, text_enum
from app.core.ids import new_id
from app.divisions.models import Division
from app.people.models import Person
from app.pharmacies.rules import Standing

CHANGED = jobs.declare("pharmacies.changed")
"""The job that follows a change of standing or roster, on which rewards depend; payload `{"pharmacy_id": …}`."""


class Pharmacy(Base):
    """A licensed site. Its standing on a day follows from `pharmacy_standings`.

    A sandbox is none: vendors try their tills there, and nothing that it sends reaches a match or a figure.
    """

    __tablename__ = "pharmacies"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(100))
    uscc: Mapped[str] = mapped_column(String(18))
    licence_number: Mapped[str] = mapped_column(String(64))
    division: Mapped[str] = mapped_column(ForeignKey(Division.code))
    address: Mapped[str] = mapped_column(String(200))
    lat: Mapped[float | None]
    lon: Mapped[float | None]
    chain: Mapped[str | None] = mapped_column(String(100))
    enrolled_on: Mapped[date]
    sandbox: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        UniqueConstraint("uscc", "licence_number"),
        CheckConstraint("(lat IS NULL) = (lon IS NULL)", name="location_whole"),
        CheckConstraint("lat BETWEEN -90 AND 90 AND lon BETWEEN -180 AND 180", name="location_on_earth"),
        Index(None, "division", postgresql_ops={"division": "text_pattern_ops"}),
        Index(None, "name", postgresql_ops={"name": "text_pattern_ops"}),
    )


class PharmacyStanding(Base):
    """One statement about a pharmacy's standing, numbered in the order in which they were made. Never changed.

    `recorded_by` is null where the service itself or an operator on the command line said so.
    """

    __tablename__ = "pharmacy_standings"

    pharmacy_id: Mapped[UUID] = mapped_column(ForeignKey(Pharmacy.id), primary_key=True)
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    standing: Mapped[Standing] = mapped_column(text_enum(Standing))
    valid_from: Mapped[date]
    reason: Mapped[str] = mapped_column(String(500))
    recorded_by: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id))
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class RosterEntry(Base):
    """Somebody works at a pharmacy, from `valid_from` until the day before `valid_to` (null: still does)."""

    __tablename__ = "roster_entries"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    pharmacy_id: Mapped[UUID] = mapped_column(ForeignKey(Pharmacy.id))
    person_id: Mapped[UUID] = mapped_column(ForeignKey(Person.id))
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]

    __table_args__ = (
        CheckConstraint("valid_to > valid_from", name="period"),
        Index(
            "uq_roster_entries_pharmacy_id_person_id",
            "pharmacy_id",
            "person_id",
            unique=True,
            postgresql_where=text("valid_to IS NULL"),
        ),
        Index("ix_roster_entries_person_id_pharmacy_id", "person_id", "pharmacy_id"),
        Index(None, "pharmacy_id"),
    )
