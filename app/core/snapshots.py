"""What every registration needs and seldom changes, held in memory and never stale.

The catalogue, the regimes and the pharmacies are read for each row that a till sends, and change a few times a day. Each has
a row in `versions`; whoever changes one bumps its row in the same transaction (`changed`). A transaction that wants the
snapshot reads the version first – one index look-up – and loads anew only when it moved. So a transaction sees exactly
what it would have seen in the tables, without reading them.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from sqlalchemy import BigInteger, String, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base

T = TypeVar("T")


class Version(Base):
    """How often a kind of reference data has changed."""

    __tablename__ = "versions"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


async def changed(session: AsyncSession, name: str) -> None:
    """Say that this transaction changes the reference data `name`.

    Call it before the change: the row lock makes writers of one kind wait for each other, so no reader can load a state
    between two of them under the later one's number.
    """
    statement = insert(Version).values(name=name, number=1)
    await session.execute(
        statement.on_conflict_do_update(index_elements=[Version.name], set_={"number": Version.number + 1})
    )


async def versions(session: AsyncSession) -> dict[str, int]:
    """Return the number of every kind of reference data, in one statement."""
    rows = await session.execute(select(Version.name, Version.number))
    return {row.name: row.number for row in rows}


class Snapshot(Generic[T]):
    """Reference data in memory, loaded by `load` whenever its version has moved."""

    def __init__(self, name: str, load: Callable[[AsyncSession], Awaitable[T]]) -> None:
        self.name = name
        self._load = load
        self._held: tuple[int, T] | None = None

    async def get(self, session: AsyncSession, known: dict[str, int] | None = None) -> T:
        """Return the data as this transaction would read it.

        `known` are the versions if the transaction has read them already (`versions`).
        """
        number = (await versions(session) if known is None else known).get(self.name, 0)
        held = self._held
        if held is not None and held[0] == number:
            return held[1]
        # Not under the lock: two transactions that load at once both load; neither waits for the other's network.
        value = await self._load(session)
        # Under READ COMMITTED the rows just read may be newer than the number read before them; the next reader then finds
        # a higher number and loads again, so a newer state under an older number does no harm.
        if held is None or number >= held[0]:
            self._held = (number, value)
        return value
