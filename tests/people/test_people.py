"""People in the database. Everybody here is synthetic."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.sealing import Keyring, KeyUnknown, SealBroken
from app.people.documents import check_character
from app.people.models import Person
from app.people.queries import KeyringDoesNotFit, buyers_of, check_index_key, open_people
from app.people.rules import Presentation, prepare
from app.people.schemas import PersonIn
from app.people.service import ensure_people

NOW = datetime(2026, 2, 15, 2, 0, tzinfo=UTC)
ROTATED = Keyring({1: bytes(range(32)), 2: bytes(range(32, 64))})  # the tests' key, and a newer one; synthetic
ID_15, ID_18 = "110105491231002", "11010519491231002X"
NOTING = (
    "CREATE TEMP TABLE came (number serial, hash bytea)",
    "CREATE FUNCTION pg_temp.note() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN INSERT INTO came (hash) VALUES (NEW.presentation_hash); RETURN NEW; END $$",
    "CREATE TRIGGER note BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION pg_temp.note()",
)
"""Has each row noted as it comes, until the test's transaction is taken back."""


def person(
    name: str | None = "王小明", number: str | None = ID_18, phone: str | None = "13800138000", **more: Any
) -> Presentation:
    document = {"type": "resident_id", "number": number} if number else None
    presentation = prepare(
        PersonIn.model_validate({"name": name, "document": document, "phone": phone, **more}), date(2026, 2, 15)
    )
    assert isinstance(presentation, Presentation), presentation
    return presentation


def number(sequence: int) -> str:
    first_17 = f"44030419900307{sequence:03}"
    return first_17 + check_character(first_17)


async def keep(session: AsyncSession, keyring: Keyring, *people: Presentation, now: datetime = NOW) -> list[UUID]:
    return await ensure_people(session, people, now=now, keyring=keyring)


async def count(session: AsyncSession) -> int:
    return await session.scalar(select(func.count()).select_from(Person)) or 0


class TestEnsuringPeople:
    async def test_keeps_each_presentation_once_and_answers_in_order(
        self, session: AsyncSession, keyring: Keyring
    ) -> None:
        one, two = person(), person(phone="13900139000")
        first = await keep(session, keyring, one, two, one)
        assert first[0] == first[2] != first[1]
        assert await keep(session, keyring, two, person(phone="+86 138 0013 8000"), person(name=None)) == [
            first[1],
            first[0],
            (await keep(session, keyring, person(name=None)))[0],
        ]
        assert await count(session) == 3

    async def test_inserts_in_the_order_of_hashes_so_that_two_transactions_cannot_block_each_other(
        self, session: AsyncSession, keyring: Keyring
    ) -> None:
        # Where rows lie does not tell in which order they came: there may be room in older pages.
        for statement in NOTING:
            await session.execute(text(statement))
        await keep(session, keyring, *(person(phone=f"138{index:08}") for index in range(50)))
        inserted = list(await session.scalars(text("SELECT hash FROM came ORDER BY number")))
        assert len(inserted) == 50
        assert inserted == sorted(inserted)

    async def test_of_nobody_does_nothing(self, session: AsyncSession, keyring: Keyring) -> None:
        assert await keep(session, keyring) == []

    async def test_finds_them_after_a_key_rotation(self, session: AsyncSession, keyring: Keyring) -> None:
        before = await keep(session, keyring, person())
        assert await keep(session, ROTATED, person(), person(name="李雷")) == [
            before[0],
            *(await keep(session, ROTATED, person(name="李雷"))),
        ]
        assert set(await session.scalars(select(Person.key_id))) == {1}
        assert {sealed[:2] for sealed in await session.scalars(select(Person.sealed))} == {b"\0\1", b"\0\2"}

    async def test_leaves_no_identity_in_the_row(self, session: AsyncSession, keyring: Keyring) -> None:
        await keep(session, keyring, person(address={"division": "440304005", "line": "沙头街道某花园"}))
        row = await session.scalar(text("SELECT people::text FROM people"))
        assert row is not None
        for secret in ("王小明", ID_18, "13800138000", "440304005", "沙头街道某花园"):
            assert secret not in row
            assert secret.encode().hex() not in row
        assert "resident_id" in row


class TestOpeningPeople:
    async def test_tells_what_was_presented(self, session: AsyncSession, keyring: Keyring) -> None:
        presentation = person(document_missing_reason=None, address={"division": "440304005", "line": "synthetic"})
        ids = await keep(session, keyring, presentation)
        assert await open_people(session, [*ids, uuid4()], ROTATED) == {ids[0]: presentation.identity}

    async def test_fails_for_a_value_copied_from_another_row(self, session: AsyncSession, keyring: Keyring) -> None:
        one, two = await keep(session, keyring, person(), person(name="李雷"))
        copied = select(Person.sealed).where(Person.id == two).scalar_subquery()
        await session.execute(update(Person).where(Person.id == one).values(sealed=copied))
        with pytest.raises(SealBroken):
            await open_people(session, [one], keyring)

    async def test_fails_without_the_key(self, session: AsyncSession, keyring: Keyring) -> None:
        ids = await keep(session, ROTATED, person())
        with pytest.raises(KeyUnknown):
            await open_people(session, ids, keyring)


class TestABuyer:
    @pytest.mark.parametrize("rotated", [False, True])
    async def test_is_all_presentations_of_one_document(
        self, session: AsyncSession, keyring: Keyring, rotated: bool
    ) -> None:
        later = ROTATED if rotated else keyring
        (first,) = await keep(session, keyring, person())
        (second,) = await keep(session, later, person(number=ID_15, phone=None, name=None), now=NOW - timedelta(days=1))
        (other,) = await keep(session, later, person(number=number(1)))
        buyers = await buyers_of(session, [first, second, other, uuid4()])
        assert buyers.keys() == {first, second, other}
        assert buyers[first] == buyers[second]
        # 15 digits carry a notice, not another identity: the earliest by time is the buyer.
        assert (buyers[first].id, buyers[first].presentations) == (second, (second, first))
        assert buyers[other].presentations == (other,)

    @pytest.mark.parametrize("rotated", [False, True])
    async def test_without_a_document_is_one_phone_and_one_name(
        self, session: AsyncSession, keyring: Keyring, rotated: bool
    ) -> None:
        later = ROTATED if rotated else keyring
        (first,) = await keep(session, keyring, person(number=None))
        second, sister, documented, nameless, other_nameless = await keep(
            session,
            later,
            person(number=None, address={"division": "440304005", "line": "synthetic"}),
            person(number=None, name="王小红"),
            person(),
            person(number=None, name=None),
            person(number=None, name=None, address={"division": "440304005", "line": "synthetic"}),
            now=NOW + timedelta(days=1),
        )
        everybody = [first, second, sister, documented, nameless, other_nameless]
        buyers = await buyers_of(session, everybody)
        assert [buyers[id_].id for id_ in everybody] == [first, first, sister, documented, nameless, other_nameless]
        assert buyers[second].presentations == (first, second)
        assert buyers[documented].presentations == (documented,)
        assert await buyers_of(session, [second]) == {second: buyers[second]}


class TestTheIndexKey:
    async def test_fits_an_empty_table_and_the_rows_of_a_rotation(
        self, session: AsyncSession, keyring: Keyring
    ) -> None:
        await check_index_key(session, Keyring.generate(7))
        await keep(session, keyring, person())
        await keep(session, ROTATED, person(name="李雷"))
        await check_index_key(session, ROTATED)

    @pytest.mark.parametrize(
        ("ring", "why"),
        [
            (Keyring({2: bytes(range(32, 64))}), "hashed under master key 1, and the first key of the keyring is 2"),
            (Keyring({1: bytes(range(32))}), "master key 2 is not in the keyring"),
            (Keyring({1: bytes(32), 2: bytes(range(32, 64))}), "master key 1 is not the key of that id"),
            (Keyring({1: bytes(32)}), "cannot be opened"),
        ],
    )
    async def test_that_does_not_fit_is_noticed(self, session: AsyncSession, ring: Keyring, why: str) -> None:
        await keep(session, ROTATED, person())
        with pytest.raises(KeyringDoesNotFit, match=why):
            await check_index_key(session, ring)

    async def test_is_looked_at_from_both_ends(self, session: AsyncSession, keyring: Keyring) -> None:
        await keep(session, keyring, person())
        await keep(session, Keyring({2: bytes(32)}), person(name="李雷"))
        for ring in (keyring, Keyring({2: bytes(32)})):
            with pytest.raises(KeyringDoesNotFit):
                await check_index_key(session, ring)


class TestLookingUp:
    @pytest.mark.parametrize(
        ("statement", "index"),
        [
            ("SELECT id FROM people WHERE document_hash = ANY($1::bytea[])", "ix_people_document_hash"),
            (
                "SELECT p.id FROM unnest($1::bytea[], $1::bytea[]) AS pair(phone_hash, name_hash) JOIN people p"
                " ON p.phone_hash = pair.phone_hash AND p.name_hash = pair.name_hash WHERE p.document_hash IS NULL",
                "ix_people_phone_hash_name_hash",
            ),
            ("SELECT id FROM people WHERE phone_hash = ANY($1::bytea[])", "ix_people_phone_hash_name_hash"),
            ("SELECT id FROM people WHERE name_hash = ANY($1::bytea[])", "ix_people_name_hash"),
            ("SELECT id FROM people WHERE presentation_hash = ANY($1::bytea[])", "uq_people_presentation_hash"),
        ],
    )
    async def test_is_served_by_its_index(self, session: AsyncSession, statement: str, index: str) -> None:
        # Which of two indexes is cheaper depends on the pages that other tests' rolled-back rows left behind, so the others
        # are taken away (and back, with the test): only this one can still spare a look at every row.
        others = await session.scalars(
            text(
                "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'people'::regclass AND NOT indisprimary"
            )
        )
        for other in set(others) - {index}:
            constraint = other.startswith("uq_")
            await session.execute(
                text(f"ALTER TABLE people DROP CONSTRAINT {other}" if constraint else f"DROP INDEX {other}")
            )
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(
            await session.scalars(text("EXPLAIN " + statement.replace("$1", "'{\"\\\\x00\"}'").replace("::", "\\:\\:")))
        )
        assert index in plan
        assert "Seq Scan" not in plan
