"""What single purchases are measured against: FastAPI, an AsyncSession for each request, one INSERT, nothing else.

No key is checked, nothing is sealed, looked up, judged or followed up: the least that a service with these libraries can do.
"""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import DateTime, String, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.core.database import async_url
from app.core.ids import new_id


class Base(DeclarativeBase):
    """Base of the one table."""


class Purchase(Base):
    """The purchase, in plain text."""

    __tablename__ = "bare_purchases"

    id: Mapped[Any] = mapped_column(Uuid, primary_key=True)
    client_reference: Mapped[str] = mapped_column(String(64), unique=True)
    purchased_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    buyer: Mapped[dict[str, Any]] = mapped_column(JSONB)
    temperature_c: Mapped[float]
    items: Mapped[list[Any]] = mapped_column(JSONB)


class Document(BaseModel):
    """An identity document."""

    type: str
    number: str


class Address(BaseModel):
    """Where somebody lives."""

    division: str
    line: str


class Buyer(BaseModel):
    """Who buys."""

    name: str
    document: Document
    phone: str
    address: Address


class Item(BaseModel):
    """What is bought."""

    name: str
    quantity: int


class PurchaseIn(BaseModel):
    """The body."""

    client_reference: str
    purchased_at: datetime
    buyer: Buyer
    temperature_c: float
    items: list[Item]


class PurchaseOut(BaseModel):
    """The answer."""

    id: str
    received_at: datetime


def create() -> FastAPI:
    """Build the application; the database is named by the environment."""
    engine = create_async_engine(async_url(os.environ["BENCHMARK_DATABASE_URL"]), pool_size=32)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    app = FastAPI()

    async def session() -> AsyncIterator[AsyncSession]:
        async with sessions() as opened:
            yield opened

    @app.post("/purchases", status_code=201)
    async def record(purchase: PurchaseIn, db: Annotated[AsyncSession, Depends(session)]) -> PurchaseOut:
        row = Purchase(id=new_id(), received_at=datetime.now(UTC), **purchase.model_dump(mode="json"))
        row.purchased_at = purchase.purchased_at
        db.add(row)
        await db.commit()
        return PurchaseOut(id=str(row.id), received_at=row.received_at)

    return app
