"""Several tills against a model: whatever they send, resend, lose, correct and void, and in whatever pieces, what is kept is what
the model says.

The machine speaks to the real application; the model knows only the contract: a reference names a purchase for ever, the
same again changes nothing, other content is a conflict, corrections are revisions, a void is final. Everybody is synthetic.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeVar
from uuid import UUID

import httpx
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app.core import batches
from app.core.database import BoundDatabase, async_url
from app.core.http import Services
from app.core.sealing import Keyring
from app.core.settings import Settings
from app.main import create_app
from app.registrations.intake import Intake
from app.registrations.verifying import read_keys, verify
from tests.conftest import MOMENT, SettableClock
from tests.factories import keys
from tests.factories.world import a_person, a_purchase, build_world

T = TypeVar("T")
Json = dict[str, Any]

ROWS_PER_TRANSACTION = 2
"""So few, that a batch of six is three transactions and can break off between them."""
PATIENT = a_person(name="李小样", document=None, document_missing_reason="synthetic") | {"temperature_c": 38.5}
BAD = a_person(document={"type": "resident_id", "number": "110105194912310021"})


@dataclass(frozen=True)
class Content:
    """What a till may tell of a purchase, and what the model says of it."""

    members: Json
    flags: tuple[str, ...] = ()
    day: str = "2026-02-15"
    packs: int = 1
    refusal: str | None = None


CONTENTS = (
    Content({}),
    Content({"temperature_c": 38.2}, ("fever",)),
    Content({"patient": PATIENT, "answers": {"contact_with_case_14d": True}}, ("fever", "exposure")),
    Content({"buyer": a_person(phone=None)}, ("incomplete",)),
    Content({"items": [{"name": "布洛芬缓释胶囊", "quantity": 2}, {"name": "合成维生素C片"}]}, packs=2),
    Content({"purchased_at": "2026-02-12T10:00:00+08:00", "checks": {"code": "red"}}, ("red_code",), day="2026-02-12"),
    Content({"items": [{"name": "合成维生素C片"}]}, refusal="registration_not_required"),
    Content({"buyer": BAD}, refusal="invalid_request"),
)
KINDS = {None: "created", "registration_not_required": "not_required", "invalid_request": "invalid"}


def bought_at(content: Content) -> datetime:
    return datetime.fromisoformat(a_purchase(**content.members)["purchased_at"])


@dataclass
class Kept:
    """A registration as the model knows it: the contents of its revisions, why each was replaced, its answers as heard."""

    received_at: datetime
    contents: list[int]
    reasons: list[str] = field(default_factory=list)
    voided: bool = False
    answers: dict[int, Json] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        return self.contents[-1]

    def flags(self, content: int) -> list[str]:
        told = CONTENTS[content]
        late = self.received_at - bought_at(told) > timedelta(hours=24)
        order = ("fever", "exposure", "incomplete", "late", "red_code", "voided")
        raised = {*told.flags, *(["late"] if late else []), *(["voided"] if self.voided else [])}
        return [flag for flag in order if flag in raised]


Name = tuple[int, int]
"""Pharmacy and number of the purchase."""


class CutDatabase(BoundDatabase):
    """The same database; the power fails before the commit of the transaction after `left` further ones."""

    left: int | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        async with super().transaction() as session:
            yield session
            if self.left is not None:
                if self.left == 0:
                    raise ConnectionResetError("synthetic power cut")
                self.left -= 1


@dataclass
class Stage:
    """The application in a loop of its own, in a transaction that is taken back."""

    loop: asyncio.AbstractEventLoop
    url: str
    keyring: Keyring
    connection: AsyncConnection = field(init=False)
    pharmacies: list[UUID] = field(init=False)
    tokens: list[tuple[str, int | None]] = field(init=False)
    """The tills: two of the first pharmacy, one of the second, and a chain's that speaks for either (None)."""

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def build(self) -> None:
        self.engine = create_async_engine(async_url(self.url), poolclass=NullPool)
        self.connection = await self.engine.connect()
        await self.connection.begin()
        database = BoundDatabase(self.connection, self.url)
        world = await build_world(database, pharmacies=2)
        self.pharmacies = world.pharmacies
        second = await keys.token(database, "pharmacy", pharmacy_ids=world.pharmacies[:1])
        chain = await keys.token(database, "pharmacy", pharmacy_ids=world.pharmacies)
        self.tokens = [(world.tills[0], 0), (second, 0), (world.tills[1], 1), (chain, None)]

    async def strike(self) -> None:
        await self.connection.rollback()
        await self.connection.close()
        await self.engine.dispose()


@pytest.fixture
def stage(migrated_url: str, keyring: Keyring) -> Iterator[Stage]:
    loop = asyncio.new_event_loop()
    built = Stage(loop, migrated_url, keyring)
    loop.run_until_complete(built.build())
    yield built
    loop.run_until_complete(built.strike())
    loop.close()


TILLS, SHOPS, NUMBERS = st.integers(0, 3), st.integers(0, 1), st.integers(0, 2)
SOLD = st.tuples(NUMBERS, st.integers(0, len(CONTENTS) - 1))
LOST = st.booleans()
CORRECTED = st.tuples(SOLD.map(lambda sold: sold[1]), st.sampled_from(["Misread", "Asked again"]))


class Tills(RuleBasedStateMachine):
    """Tills at work. Each rule sends something, says what the model makes of it, and looks whether it was answered so."""

    stage: Stage

    @initialize()
    def open(self) -> None:
        stage = self.stage
        self.clock = SettableClock()
        self.kept: dict[Name, Kept] = {}
        self.sent: list[tuple[int, Name, int]] = []
        self.corrections: list[tuple[int, Name, int, str]] = []
        self.story = stage.wait(_begin(stage.connection))
        database = BoundDatabase(stage.connection, stage.url)
        self.cut = CutDatabase(stage.connection, stage.url)
        services = Services(Settings(database_url=stage.url), database, self.clock, stage.keyring)
        app = create_app(services)
        services.parts[Intake] = Intake(self.cut, self.clock, stage.keyring)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self.tills = [
            httpx.AsyncClient(
                transport=transport, base_url="http://sentinel.test", headers={"Authorization": f"Bearer {token}"}
            )
            for token, _ in stage.tokens
        ]
        self.database = database

    # What tills do.

    @rule(till=TILLS, shop=SHOPS, sold=SOLD, lost=LOST)
    def sells(self, till: int, shop: int, sold: tuple[int, int], lost: bool) -> None:
        """Send one purchase; a lost answer is one that nobody hears."""
        name, content = (self.shop_of(till, shop), sold[0]), sold[1]
        before = self.kept.get(name)
        answer = self.post(till, "/v1/registrations", self.body(till, name, content))
        status = self.take(till, name, content)
        if lost:
            return
        told = answer.json()
        if status in ("created", "duplicate"):
            assert answer.status_code == (201 if status == "created" else 200), answer.text
            self.hear(name, content, told)
        elif status == "conflict":
            assert (before is not None, answer.status_code) == (True, 409)
            assert told["code"] == "client_reference_conflict"
        else:
            assert (answer.status_code, told["code"]) == (422, CONTENTS[content].refusal)

    @rule(till=TILLS, shop=SHOPS, sold=SOLD)
    def sells_while_the_power_fails(self, till: int, shop: int, sold: tuple[int, int]) -> None:
        """Nothing is kept, and the till is told to come again."""
        name = (self.shop_of(till, shop), sold[0])
        self.sent.append((till, name, sold[1]))
        self.cut.left = 0
        answer = self.post(till, "/v1/registrations", self.body(till, name, sold[1]))
        self.cut.left = None
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")

    @rule(till=TILLS, shop=SHOPS, rows=st.lists(SOLD, min_size=1, max_size=7), lines=st.booleans(), lost=LOST)
    def sends_together(self, till: int, shop: int, rows: list[tuple[int, int]], lines: bool, lost: bool) -> None:
        """Send a batch, with repetitions and contradictions in it, as an array or as lines."""
        named = [((self.shop_of(till, shop), number), content) for number, content in rows]
        self.send_batch(till, named, lines=lines, lost=lost)

    @rule(till=TILLS, shop=SHOPS, rows=st.lists(SOLD, min_size=3, max_size=7), whole=st.integers(0, 1))
    def sends_together_while_the_power_fails(
        self, till: int, shop: int, rows: list[tuple[int, int]], whole: int
    ) -> None:
        """A batch breaks off: the transactions before the power cut hold, the others never were."""
        named = [((self.shop_of(till, shop), number), content) for number, content in rows]
        self.cut.left = whole
        answer = self.post(till, "/v1/registrations/batch", [self.body(till, *one) for one in named])
        self.cut.left = None
        assert answer.status_code == 503, answer.text
        for name, content in named[: whole * ROWS_PER_TRANSACTION]:
            self.take(till, name, content)

    @precondition(lambda self: self.sent)
    @rule(till=TILLS, random=st.randoms(use_true_random=False), size=st.integers(1, 9), lines=st.booleans())
    def sends_all_again(self, till: int, random: Random, size: int, lines: bool) -> None:
        """Send again whatever this till ever sent, in another order and in other batches."""
        again = [(name, content) for by, name, content in self.sent if by == till]
        random.shuffle(again)
        for start in range(0, min(len(again), 30), size):
            self.send_batch(till, again[start : start + size], lines=lines, lost=False)

    @precondition(lambda self: self.kept)
    @rule(till=TILLS, which=st.integers(0, 99), said=st.lists(CORRECTED, min_size=1, max_size=3), lost=LOST)
    def corrects(self, till: int, which: int, said: list[tuple[int, str]], lost: bool) -> None:
        """Say what a purchase should have been, once or time and again."""
        name, _ = self.one_of(which)
        for content, reason in said:
            self.correct(till, name, content, reason, lost=lost)

    @precondition(lambda self: self.corrections)
    @rule(which=st.integers(0, 99), random=st.randoms(use_true_random=False))
    def sends_corrections_again(self, which: int, random: Random) -> None:
        """Send again the corrections of a purchase, in any order: the one that was made last stands."""
        wanted = self.corrections[which % len(self.corrections)][1]
        again = [one for one in self.corrections if one[1] == wanted]
        random.shuffle(again)
        for till, name, content, reason in again[:6]:
            self.correct(till, name, content, reason, lost=False)

    def correct(self, till: int, name: Name, content: int, reason: str, *, lost: bool) -> None:
        """Send a correction, and let the model take it."""
        kept = self.kept[name]
        self.corrections.append((till, name, content, reason))
        body = {"reason": reason, "registration": a_purchase(**CONTENTS[content].members)}
        del body["registration"]["client_reference"]
        answer = self.post(till, f"/v1/registrations/{self.id_of(name)}/corrections", body)
        if self.stage.tokens[till][1] not in (None, name[0]):
            assert answer.status_code == 404
            return
        made = [*zip(kept.reasons, kept.contents[1:], strict=True)]
        if content == kept.newest or (reason, content) in made[: len(kept.contents) - 2]:
            expected = 200
        elif kept.voided:
            expected = 409
        elif CONTENTS[content].refusal:
            expected = 422
        else:
            expected = 201
            kept.contents.append(content)
            kept.reasons.append(reason)
        assert answer.status_code == expected, answer.text
        if expected < 300 and not lost:
            self.hear(name, content, answer.json())

    @precondition(lambda self: self.kept)
    @rule(till=TILLS, which=st.integers(0, 99))
    def voids(self, till: int, which: int) -> None:
        """Say that a purchase does not hold."""
        name, kept = self.one_of(which)
        answer = self.post(till, f"/v1/registrations/{self.id_of(name)}/void", {"reason": f"Cancelled by {till}"})
        if self.stage.tokens[till][1] not in (None, name[0]):
            assert answer.status_code == 404
            return
        assert (answer.status_code, answer.json()["revision"]) == (200, len(kept.contents))
        kept.voided = True

    @precondition(lambda self: self.clock.moment < MOMENT + timedelta(days=9))
    @rule(hours=st.sampled_from([1, 5, 23]))
    def waits(self, hours: int) -> None:
        """Be offline for a while."""
        self.clock.moment += timedelta(hours=hours)

    # What the model says, and what is kept.

    def take(self, till: int, name: Name, content: int) -> str:
        """Let the model take a row; return what it says of it."""
        self.sent.append((till, name, content))
        kept = self.kept.get(name)
        if kept is not None:
            return "duplicate" if content in kept.contents else "conflict"
        refusal = CONTENTS[content].refusal
        if refusal is None:
            self.kept[name] = Kept(self.clock.moment, [content])
        return KINDS[refusal]

    def hear(self, name: Name, content: int, told: Json) -> None:
        """Compare an answer with the model, and with what was answered before to the same."""
        kept = self.kept[name]
        assert kept.contents[told["revision"] - 1] == content
        if content == kept.newest:
            assert told["revision"] == len(kept.contents)
        assert told["flags"] == kept.flags(content)
        assert datetime.fromisoformat(told["received_at"]) == kept.received_at
        before = kept.answers.setdefault(told["revision"], told)
        unlike = {name for name in told if told[name] != before[name]}
        assert unlike <= ({"flags"} if kept.voided else set())

    def send_batch(self, till: int, named: Sequence[tuple[Name, int]], *, lines: bool, lost: bool) -> None:
        rows = [self.body(till, *one) for one in named]
        answer = self.post(till, "/v1/registrations/batch", rows, lines=lines)
        expected = [self.take(till, *one) for one in named]
        if lost:
            return
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert [one["status"] for one in told["results"]] == expected
        counts = Counter(expected)
        assert {kind: told[kind] for kind in counts} == counts
        assert [one["receipt"] is not None for one in told["results"]] == [one == "created" for one in expected]

    def teardown(self) -> None:
        """Compare all that callers can see at the end, and take it back."""
        if hasattr(self, "story"):
            try:
                self.send_everything_again()
                self.holds_what_the_model_holds()
                for shop in (0, 1):
                    self.compare_totals(shop)
                    self.compare_receipts(shop)
            finally:
                self.stage.wait(self.story.rollback())

    def send_everything_again(self) -> None:
        """Let the chain send whatever anybody ever sent, the latest first; nothing that is there changes."""
        ever = list(dict.fromkeys((name, content) for _, name, content in reversed(self.sent)))
        if ever:
            self.send_batch(3, ever, lines=True, lost=False)
        for till, name, content, reason in list(dict.fromkeys(self.corrections))[:10]:
            self.correct(till, name, content, reason, lost=False)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        rows = self.rows(
            "SELECT pharmacy_id, client_reference, revision, flags, voided_at IS NOT NULL, received_at,"
            " (SELECT sum(quantity) FROM registration_items WHERE registration_id = r.id),"
            " ARRAY(SELECT reason FROM registration_revisions WHERE registration_id = r.id ORDER BY revision),"
            " ARRAY(SELECT array_to_string(flags, ',') FROM registration_revisions"
            "  WHERE registration_id = r.id ORDER BY revision)"
            " FROM registrations r"
        )
        expected = {}
        for (shop, number), kept in self.kept.items():
            newest = CONTENTS[kept.newest]
            former = [",".join(flag for flag in kept.flags(one) if flag != "voided") for one in kept.contents[:-1]]
            expected[self.stage.pharmacies[shop], reference(number)] = (
                *(len(kept.contents), kept.flags(kept.newest), kept.voided, kept.received_at, newest.packs),
                *(kept.reasons, former),
            )
        assert {(row[0], row[1]): tuple(row[2:]) for row in rows} == expected

    def compare_totals(self, shop: int) -> None:
        """The day's totals, as a pharmacy reads them."""
        parameters = {"from": "2026-02-11", "to": "2026-02-17", "pharmacy": str(self.stage.pharmacies[shop])}
        answer = self.stage.wait(self.tills[3].get("/v1/reconciliation", params=parameters))
        told = {day["day"]: day for day in answer.json()["days"]}
        expected: dict[str, Counter[str]] = {day: Counter() for day in told}
        for (where, _), kept in self.kept.items():
            if where == shop and not kept.voided:
                content = CONTENTS[kept.newest]
                late = "late" in kept.flags(kept.newest)
                expected[content.day].update(
                    registrations=1,
                    late=late,
                    on_time=not late,
                    packs=content.packs,
                    incomplete="incomplete" in content.flags,
                )
        for day, counts in expected.items():
            assert {name: told[day][name] for name in ("registrations", "on_time", "late", "incomplete")} == {
                name: counts[name] for name in ("registrations", "on_time", "late", "incomplete")
            }
            assert sum(drug["registered"] for drug in told[day]["drugs"]) == counts["packs"]

    def compare_receipts(self, shop: int) -> None:
        """The chain of receipts: whole, and a link for each thing that came into effect."""
        receipts: list[Json] = []
        parameters = {"pharmacy": str(self.stage.pharmacies[shop]), "limit": "100"}
        while True:
            page = self.stage.wait(self.tills[3].get("/v1/receipts", params=parameters)).json()
            receipts += page["items"]
            if page["next_cursor"] is None:
                break
            parameters["cursor"] = page["next_cursor"]
        public = self.stage.wait(self.tills[3].get("/v1/receipts/keys")).text
        assert verify([json.dumps(one) for one in receipts], read_keys(public)).findings == []
        assert [one["number"] for one in receipts] == list(range(1, len(receipts) + 1))
        expected: list[tuple[str, str, int]] = []
        for (where, number), kept in self.kept.items():
            if where == shop:
                expected.append((reference(number), "recorded", 1))
                expected += [(reference(number), "corrected", at) for at in range(2, len(kept.contents) + 1)]
                expected += [(reference(number), "voided", len(kept.contents))] if kept.voided else []
        assert sorted((r["client_reference"], r["kind"], r["revision"]) for r in receipts) == sorted(expected)

    # The wire.

    def shop_of(self, till: int, shop: int) -> int:
        own = self.stage.tokens[till][1]
        return shop if own is None else own

    def body(self, till: int, name: Name, content: int) -> Json:
        body = a_purchase(reference(name[1]), **CONTENTS[content].members)
        if self.stage.tokens[till][1] is None:
            body["pharmacy_id"] = str(self.stage.pharmacies[name[0]])
        return body

    def post(self, till: int, path: str, body: Any, *, lines: bool = False) -> httpx.Response:
        if not lines:
            return self.stage.wait(self.tills[till].post(path, json=body))
        written = "\n".join(json.dumps(row, ensure_ascii=False) for row in body).encode()
        headers = {"Content-Type": "application/x-ndjson"}
        return self.stage.wait(self.tills[till].post(path, content=written, headers=headers))

    def one_of(self, which: int) -> tuple[Name, Kept]:
        names = sorted(self.kept)
        name = names[which % len(names)]
        return name, self.kept[name]

    def id_of(self, name: Name) -> UUID:
        [(found,)] = self.rows(
            "SELECT id FROM registrations WHERE pharmacy_id = :shop AND client_reference = :reference",
            shop=self.stage.pharmacies[name[0]],
            reference=reference(name[1]),
        )
        return UUID(str(found))

    def rows(self, query: str, **values: Any) -> list[Any]:
        async def look() -> list[Any]:
            async with self.database.transaction() as session:
                return list((await session.execute(text(query), values)).all())

        return self.stage.wait(look())


def reference(number: int) -> str:
    return f"SYN-{number}"


async def _begin(connection: AsyncConnection) -> Any:
    return await connection.begin_nested()


class TestTills:
    def test_leave_what_the_model_says_whatever_they_do(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batches, "ROWS_PER_TRANSACTION", ROWS_PER_TRANSACTION)
        monkeypatch.setattr(Tills, "stage", stage, raising=False)
        run_state_machine_as_test(
            Tills,
            settings=settings(
                max_examples=12,
                stateful_step_count=18,
                derandomize=True,
                database=None,
                phases=[Phase.generate],  # to make a failure shorter takes minutes, and it tells enough as it is
            ),
        )
