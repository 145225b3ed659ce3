"""Purchases that arrive together: one transaction, and nobody suffers for a neighbour. Everybody here is synthetic."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database import Database
from app.core.errors import DatabaseUnavailable, InternalError, MalformedBody, TryAgain
from app.core.sealing import Keyring
from app.registrations import intake as module
from app.registrations import receipts, service
from app.registrations.chain import PURPOSE, key_id_of
from app.registrations.drafts import Recorded, Submission, Unread
from app.registrations.intake import ATTEMPTS, MOST_WAITS, Intake
from app.registrations.models import Registration
from app.registrations.receipts import list_receipts, sign
from app.registrations.schemas import RegistrationIn
from app.registrations.service import Outcome
from app.registrations.verifying import verify
from tests.conftest import SettableClock
from tests.factories import keys
from tests.factories.world import World
from tests.registrations.test_routes import stored


class Crowd:
    """Tills that all send at once; the transactions that their purchases shared; troubles on demand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.transactions: list[list[str]] = []
        self.troubles: dict[str, list[BaseException]] = {}
        real = module.record_registrations

        async def watched(session: AsyncSession, submissions: Sequence[Submission], **members: Any) -> list[Outcome]:
            references = [one.row.client_reference for one in submissions]
            self.transactions.append(references)
            outcomes = await real(session, submissions, **members)
            for reference in references:
                if self.troubles.get(reference):
                    raise self.troubles[reference].pop()
            return outcomes

        monkeypatch.setattr(module, "record_registrations", watched)


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Crowd:
    return Crowd(monkeypatch)


@pytest.fixture
async def submit(world: World) -> Any:
    actor = await keys.actor(world.database, "pharmacy", pharmacy_ids=world.pharmacies)
    return lambda **members: Submission(actor, RegistrationIn.model_validate(world.purchase(**members)))


@pytest.fixture
def intake(database: Database, clock: SettableClock, keyring: Keyring) -> Intake:
    return Intake(database, clock, keyring)


def told(outcomes: Sequence[Any]) -> list[str]:
    return [one.code if isinstance(one, module.AppError) else type(one).__name__ for one in outcomes]


class TestPurchasesAtTheSameMoment:
    async def test_share_a_transaction(self, intake: Intake, submit: Any, crowd: Crowd, database: Database) -> None:
        outcomes = await asyncio.gather(*(intake.record(submit()) for _ in range(30)))
        assert len({outcome.id for outcome in outcomes}) == 30
        assert [len(one) for one in crowd.transactions] == [30]
        assert await stored(database) == 30

    async def test_go_together_again_with_the_next(
        self, intake: Intake, submit: Any, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "GATHER_SECONDS", 20)  # nobody waits so long: the next begins when all are back

        async def till(pause: int) -> None:
            for _ in range(3):
                await intake.record(submit())
                for _ in range(pause):
                    await asyncio.sleep(0)

        await asyncio.wait_for(asyncio.gather(*(till(pause) for pause in range(6))), timeout=20)
        assert [len(one) for one in crowd.transactions] == [6, 6, 6]

    async def test_are_at_most_two_hundred_in_one(
        self, intake: Intake, submit: Any, crowd: Crowd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MOST_TOGETHER", 20)
        monkeypatch.setattr(module, "MOST_FROM_ONE", 20, raising=False)
        await asyncio.gather(*(intake.record(submit()) for _ in range(50)))
        assert [len(one) for one in crowd.transactions] == [20, 20, 10]

    async def test_that_are_the_same_get_the_same_answer(self, intake: Intake, submit: Any) -> None:
        one = submit(client_reference="SAME")
        outcomes = await asyncio.gather(*(intake.record(one) for _ in range(5)))
        assert len({outcome.id for outcome in outcomes}) == 1
        assert sorted(outcome.duplicate for outcome in outcomes) == [False, True, True, True, True]
        later = await intake.record(one)
        assert (later.duplicate, later.lines) == (True, outcomes[0].lines)

    async def test_one_after_the_other_are_all_answered(self, intake: Intake, submit: Any) -> None:
        # Each till sends its next purchase in the very step in which it was answered: as late as possible for the task
        # that answered it to take it along, and as early as possible for the next one to be started.
        async def till() -> None:
            for _ in range(10):
                await intake.record(submit())

        await asyncio.wait_for(asyncio.gather(*(till() for _ in range(3))), timeout=20)


class TestACrowd:
    async def test_that_came_back_meanwhile_is_not_waited_for(
        self, intake: Intake, submit: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "GATHER_SECONDS", 60)
        purchase = submit()
        intake._waiting += [(purchase, asyncio.get_running_loop().create_future()) for _ in range(6)]
        await asyncio.wait_for(intake._gather(6), timeout=10)

    @pytest.mark.parametrize(
        ("numbers", "waits"), [((0, 0), 1), ((0, 1, 2, 2), 3), ((0, 1, 2, 3, 4, 5), MOST_WAITS), ((3, 3), 1)]
    )
    async def test_is_waited_for_while_it_keeps_coming(
        self, intake: Intake, monkeypatch: pytest.MonkeyPatch, numbers: tuple[int, ...], waits: int
    ) -> None:
        class Coming:
            """As many as `numbers` say, before the first wait and after each."""

            def __init__(self) -> None:
                self.asked = [numbers[0]]
                for before, after in pairwise(numbers):
                    self.asked += [before, after]

            def __len__(self) -> int:
                return self.asked.pop(0)

        monkeypatch.setattr(module, "GATHER_SECONDS", 0.001)
        coming = Coming()
        intake._waiting = coming  # type: ignore[assignment]
        await asyncio.wait_for(intake._gather(6), timeout=10)
        assert coming.asked == []
        assert len(numbers) - 1 == waits


class TestAnAnswer:
    async def test_to_a_single_purchase_is_made_while_the_database_writes(
        self, intake: Intake, submit: Any, keyring: Keyring
    ) -> None:
        asked: list[Recorded] = []

        def tell(recorded: Recorded) -> bytes:
            asked.append(recorded)
            assert recorded.receipt is not None
            return sign(recorded.receipt, keyring).model_dump_json().encode()

        purchase = replace(submit(), tell=tell)
        single = await intake.record(purchase)
        assert asked == [single]
        assert single.told == tell(single)
        again = await intake.record(purchase)
        assert (again.duplicate, again.told) == (True, tell(again))

    async def test_to_one_of_two_that_are_the_same_says_so(self, intake: Intake, submit: Any) -> None:
        purchase = submit()
        first, second = await intake.record_all([replace(purchase, tell=lambda _: b"told"), purchase])
        assert isinstance(first, Recorded)
        assert isinstance(second, Recorded)
        assert (first.duplicate, second.duplicate, second.told, second.id) == (False, True, None, first.id)


class TestAReceipt:
    async def test_of_a_batch_s_row_is_not(self, intake: Intake, submit: Any) -> None:
        outcomes = await intake.record_many(None, [submit() for _ in range(3)])
        assert [one.receipt and one.receipt.signature for one in outcomes if isinstance(one, Recorded)] == [None] * 3


class TestAPurchaseThatIsReadWithItsCrowd:
    async def test_is_refused_alone_if_it_cannot_be_read(
        self, intake: Intake, submit: Any, crowd: Crowd, database: Database
    ) -> None:
        good = [submit(client_reference=f"SYN-{number}") for number in range(2)]

        def refuse() -> Submission:
            raise MalformedBody

        def fail() -> Submission:
            raise ZeroDivisionError

        reads: list[Any] = [lambda: good[0], refuse, fail, lambda: good[1]]
        calls = (intake.record(Unread(good[0].actor, read)) for read in reads)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert told(outcomes) == ["Recorded", "malformed_body", "internal_error", "Recorded"]
        assert crowd.transactions == [["SYN-0", "SYN-1"]]
        assert await stored(database) == 2

    async def test_costs_no_transaction_if_none_can_be_read(self, intake: Intake, submit: Any, crowd: Crowd) -> None:
        def refuse() -> Submission:
            raise MalformedBody

        for _ in range(2):
            with pytest.raises(MalformedBody):
                await intake.record(Unread(submit().actor, refuse))
        assert crowd.transactions == []


class TestLinksThatWereMadeAhead:
    """Another process writes to the same chain, or a transaction comes to nothing: what was made ahead is dropped."""

    async def test_and_answers_are_there_before_the_chain_is_held(
        self, intake: Intake, telling: Callable[..., Submission], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []
        real_add, real_make = service.add_links, receipts._make_links

        async def held(*given: Any, **members: Any) -> Any:
            done.append("held")
            return await real_add(*given, **members)

        def made(entries: Sequence[Any], *given: Any) -> Any:
            if entries:
                done.append("linked")
            return real_make(entries, *given)

        def tell(_: Recorded) -> bytes:
            done.append("told")
            return b"told"

        monkeypatch.setattr(service, "add_links", held)
        monkeypatch.setattr(receipts, "_make_links", made)
        await intake.record(replace(telling(), tell=tell))
        assert done == ["held", "linked", "told"]  # nobody knew the head
        done.clear()
        await intake.record(replace(telling(), tell=tell))
        assert done == ["linked", "told", "held"]

    async def check(self, world: World, recorded: Sequence[Recorded], keyring: Keyring) -> None:
        given = [one.receipt for one in recorded if one.receipt is not None]
        assert [receipt.link.number for receipt in given] == list(range(1, len(recorded) + 1))
        told = [json.dumps(json.loads(one.told or b"")) for one in recorded]
        public = keyring.public_key(PURPOSE, keyring.key_id)
        keys = {key_id_of(public): Ed25519PublicKey.from_public_bytes(public)}
        assert not verify(told, keys).findings
        async with world.database.transaction() as session:
            kept = await list_receipts(session, given[0].link.pharmacy_id, after=0, limit=500, keyring=keyring)
        assert kept == given

    @pytest.fixture
    def telling(self, submit: Any, keyring: Keyring) -> Callable[..., Submission]:
        def tell(recorded: Recorded) -> bytes:
            assert recorded.receipt is not None
            return sign(recorded.receipt, keyring).model_dump_json().encode()

        return lambda **members: replace(submit(**members), tell=tell)

    async def test_follow_what_another_process_has_written_meanwhile(
        self,
        world: World,
        telling: Callable[..., Submission],
        database: Database,
        clock: SettableClock,
        keyring: Keyring,
    ) -> None:
        processes = [Intake(database, clock, keyring) for _ in range(2)]
        recorded = [await processes[turn % 2].record(telling()) for turn in range(6)]
        recorded += [await processes[1].record(telling()) for _ in range(3)]
        await self.check(world, recorded, keyring)

    async def test_follow_what_was_committed(
        self, world: World, intake: Intake, telling: Callable[..., Submission], crowd: Crowd, keyring: Keyring
    ) -> None:
        recorded = [await intake.record(telling())]
        crowd.troubles["TWICE"] = [asyncpg.DeadlockDetectedError("synthetic")]
        recorded.append(await intake.record(telling(client_reference="TWICE")))
        crowd.troubles["POISON"] = [asyncpg.DataError("synthetic")] * 20
        with pytest.raises(InternalError):
            await intake.record(telling(client_reference="POISON"))
        recorded.append(await intake.record(telling()))
        await self.check(world, recorded, keyring)

    async def test_leave_out_a_purchase_that_somebody_else_was_faster_with(
        self,
        world: World,
        intake: Intake,
        telling: Callable[..., Submission],
        database: Database,
        clock: SettableClock,
        keyring: Keyring,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        recorded = [await intake.record(telling())]
        rival, real = telling(), service._keep

        async def late(*given: Any) -> Any:
            monkeypatch.undo()
            recorded.append(await Intake(database, clock, keyring).record(rival))
            return await real(*given)

        monkeypatch.setattr(service, "_keep", late)
        both = await asyncio.gather(intake.record(rival), intake.record(telling()))
        assert [one.duplicate for one in both] == [True, False]
        assert both[0].id == recorded[1].id
        await self.check(world, [*recorded, both[1]], keyring)


class TestAPurchaseThatBreaksItsTransaction:
    async def test_does_not_refuse_its_neighbours(
        self, intake: Intake, submit: Any, crowd: Crowd, database: Database
    ) -> None:
        crowd.troubles["POISON"] = [asyncpg.DataError("synthetic")] * 20
        together = [submit() for _ in range(8)]
        together.insert(5, submit(client_reference="POISON"))
        outcomes = await asyncio.gather(*(intake.record(one) for one in together), return_exceptions=True)
        assert told(outcomes) == ["Recorded"] * 5 + ["internal_error"] + ["Recorded"] * 3
        assert isinstance(outcomes[5], InternalError)
        assert await stored(database) == 8

    async def test_is_one_invalid_row_of_a_batch(
        self, intake: Intake, submit: Any, crowd: Crowd, database: Database
    ) -> None:
        crowd.troubles["POISON"] = [asyncpg.DataError("synthetic")] * 20
        outcomes = await intake.record_all([submit(client_reference="POISON"), *(submit() for _ in range(6))])
        assert told(outcomes) == ["internal_error"] + ["Recorded"] * 6
        assert await stored(database) == 6

    async def test_is_logged_without_what_the_database_said(
        self, intake: Intake, submit: Any, crowd: Crowd, caplog: pytest.LogCaptureFixture
    ) -> None:
        from app.core.log import JsonLines

        crowd.troubles["POISON"] = [asyncpg.DataError("Key (name)=(王小样) synthetic")] * 20
        with pytest.raises(InternalError):
            await intake.record(submit(client_reference="POISON"))
        lines = [JsonLines().format(record) for record in caplog.records]
        assert any("DataError" in line for line in lines)
        assert not any("王小样" in line or "POISON" in line for line in lines)


class TestATransactionThatRanIntoAnother:
    async def test_is_tried_again(self, intake: Intake, submit: Any, crowd: Crowd, database: Database) -> None:
        crowd.troubles["HELD"] = [asyncpg.DeadlockDetectedError("synthetic")] * (ATTEMPTS - 1)
        outcomes = await asyncio.gather(*(intake.record(one) for one in (submit(), submit(client_reference="HELD"))))
        assert told(outcomes) == ["Recorded", "Recorded"]
        assert [len(one) for one in crowd.transactions] == [2] * ATTEMPTS
        assert await stored(database) == 2

    async def test_is_given_up_in_the_end(self, intake: Intake, submit: Any, crowd: Crowd, database: Database) -> None:
        crowd.troubles["HELD"] = [asyncpg.DeadlockDetectedError("synthetic")] * 20
        with pytest.raises(TryAgain) as refused:
            await intake.record(submit(client_reference="HELD"))
        assert refused.value.headers == {"Retry-After": "1"}
        assert len(crowd.transactions) == ATTEMPTS
        assert await stored(database) == 0


class TestADatabaseThatDoesNotAnswer:
    async def test_refuses_all_at_once_and_is_not_asked_for_each(
        self, intake: Intake, submit: Any, crowd: Crowd, database: Database
    ) -> None:
        crowd.troubles["GONE"] = [asyncpg.ConnectionDoesNotExistError("synthetic")]
        sent = [submit(), submit(client_reference="GONE"), submit()]
        outcomes = await asyncio.gather(*(intake.record(one) for one in sent), return_exceptions=True)
        assert told(outcomes) == ["database_unavailable"] * 3
        assert all(isinstance(one, DatabaseUnavailable) and one.headers == {"Retry-After": "1"} for one in outcomes)
        assert (len(crowd.transactions), await stored(database)) == (1, 0)
        assert told(await asyncio.gather(*(intake.record(one) for one in sent))) == ["Recorded"] * 3

    async def test_is_no_answer_if_only_the_commit_fails(
        self, submit: Any, database: Database, clock: SettableClock, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @asynccontextmanager
        async def failing(self: Database) -> AsyncIterator[AsyncSession]:
            async with real(database) as session:
                yield session
                raise ConnectionResetError("synthetic")

        real = type(database).statements
        monkeypatch.setattr(type(database), "statements", failing)
        with pytest.raises(DatabaseUnavailable):
            await Intake(database, clock, keyring).record(submit())
        monkeypatch.undo()
        assert await stored(database, Registration) == 0

    async def test_keeps_the_answer_from_a_repeat_and_from_nobody_else(
        self, intake: Intake, submit: Any, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def gone(*_: object) -> None:
            raise asyncpg.ConnectionDoesNotExistError("synthetic")

        again = submit()
        await intake.record(again)
        with monkeypatch.context() as patch:
            patch.setattr(module, "find_lines", gone)
            sent = (submit(), again, submit())
            outcomes = await asyncio.gather(*(intake.record(one) for one in sent), return_exceptions=True)
        assert told(outcomes) == ["Recorded", "database_unavailable", "Recorded"]
        assert (await intake.record(again)).duplicate
        assert await stored(database) == 3


class TestACallerWhoHangsUp:
    async def test_leaves_a_purchase_that_is_kept(
        self, intake: Intake, submit: Any, crowd: Crowd, database: Database
    ) -> None:
        calls = [asyncio.create_task(intake.record(submit())) for _ in range(3)]
        await asyncio.sleep(0)
        calls[1].cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(outcomes[0], Recorded)
        assert isinstance(outcomes[1], asyncio.CancelledError)
        assert isinstance(outcomes[2], Recorded)
        assert await stored(database) == 3
