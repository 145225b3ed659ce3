"""What every registration needs and seldom changes, held in memory and never stale.

The catalogue, the regimes and the pharmacies are read for each row that a till sends, and change a few times a day. Each has
a row in `versions`; whoever changes one gives it a new token in the same transaction (`changed`). A transaction that wants
the snapshot reads the token first – one look-up – and loads anew only when it is another. So a transaction sees exactly what
it would have seen in the tables, without reading them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy import String, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, driver, has_driver_alone, orm_beside

T = TypeVar("T")


class Version(Base):
    """Which state a kind of reference data is in.

    A random token and not a count: a count that a rolled-back transaction has used would come again with other content.
    """

    __tablename__ = "versions"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    token: Mapped[UUID]


_VERSIONS = "SELECT name, token FROM versions"


async def changed(session: AsyncSession, name: str) -> None:
    """Say that this transaction changes the reference data `name`.

    Call it before the change: the row lock makes writers of one kind wait for each other.
    """
    statement = insert(Version).values(name=name, token=func.gen_random_uuid())
    await session.execute(
        statement.on_conflict_do_update(index_elements=[Version.name], set_={"token": func.gen_random_uuid()})
    )


async def versions(session: AsyncSession) -> Mapping[str, UUID]:
    """Return the token of every kind of reference data, in one statement."""
    if has_driver_alone(session):  # the beginning of every purchase
        return dict(await (await driver(session)).fetch(_VERSIONS))
    return {row.name: row.token for row in await session.execute(text(_VERSIONS))}


class Snapshot(Generic[T]):
    """Reference data in memory, loaded by `load` whenever its token is another."""

    def __init__(self, name: str, load: Callable[[AsyncSession], Awaitable[T]]) -> None:
        self.name = name
        self._load = load
        self._held: tuple[UUID, T] | None = None
        self._loading: asyncio.Future[None] | None = None

    async def get(self, session: AsyncSession, known: Mapping[str, UUID] | None = None) -> T:
        """Return the data as this transaction would read it.

        `known` are the tokens if the transaction has read them already (`versions`). What nobody has ever changed has no
        token and is read each time.
        """
        token = (await versions(session) if known is None else known).get(self.name)
        while self._held is None or self._held[0] != token:
            if not has_driver_alone(session):
                return await self._read(session, token)
            if self._loading is not None:
                await asyncio.wait([self._loading])
                continue
            # Beside its own connection each of those who wait would take another one: so one of them asks for all.
            self._loading = asyncio.get_running_loop().create_future()
            try:
                async with orm_beside(session) as reader:
                    return await self._read(reader, token)
            finally:
                self._loading.set_result(None)
                self._loading = None
        return self._held[1]

    async def _read(self, session: AsyncSession, token: UUID | None) -> T:
        value = await self._load(session)
        # Under READ COMMITTED the rows may be newer than the token read before them. The next reader then finds another
        # token and loads again, so a newer state under an older token does no harm.
        if token is not None:
            self._held = (token, value)
        return value
