"""How a purchase is judged, for any purchase. Everybody here is synthetic."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.core.errors import FieldError
from app.core.languages import Language
from app.regimes.rules import RequiredField
from app.registrations.rules import (
    ADVICE,
    CLOCK_TOLERANCE,
    FEVER_C,
    OLDEST,
    ON_TIME,
    People,
    advise,
    flags_of,
    is_clue,
    judge_form,
    large_lines,
    missing_fields,
    most_in_a_row,
    read_people,
    trace_findings,
)
from app.registrations.schemas import Flag, HealthCode, RegistrationIn, Temperature
from tests.conftest import MOMENT
from tests.factories.world import a_person, a_purchase

DAY = date(2026, 2, 15)
CELSIUS: TypeAdapter[Decimal] = TypeAdapter(Temperature)
temperatures = st.none() | st.decimals(30, 45, places=2).map(str)
persons = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["王小样", "李四样", " ", None]),
        "document": st.sampled_from([{"type": "resident_id", "number": "11010519491231002X"}, None]),
        "document_missing_reason": st.sampled_from(["忘带", "", None]),
        "phone": st.sampled_from(["13800138000", " ", None]),
        "address": st.sampled_from([None, {"division": "440304005", "line": "某路"}, {"line": "某路"}]),
    },
)
purchases = st.fixed_dictionaries(
    {
        "purchased_at": st.datetimes(datetime(2026, 1, 1), datetime(2026, 3, 1), timezones=st.just(UTC)).map(str),  # noqa: DTZ001 - made aware
        "buyer": persons,
        "temperature_c": temperatures,
        "patient": st.none() | st.builds(lambda who, hot: who | {"temperature_c": hot}, persons, temperatures),
        "answers": st.dictionaries(
            st.sampled_from(["stay_in_affected_area_14d", "contact_with_case_14d", "other"]),
            st.booleans() | st.integers(0, 3) | st.sampled_from(["yes", "no"]),
        ),
        "checks": st.none() | st.fixed_dictionaries({"code": st.sampled_from([None, *HealthCode])}),
    }
).map(lambda members: RegistrationIn.model_validate(a_purchase(**members)))


def a_row(**members: Any) -> RegistrationIn:
    return RegistrationIn.model_validate(a_purchase(**members))


class TestATemperature:
    def test_is_the_hundredth_that_was_sent_however_it_was_written(self) -> None:
        for hundredths in range(3_000, 4_501):
            exact = f"{hundredths // 100}.{hundredths % 100:02}"
            for written in (exact, f'"{exact}"', repr(hundredths / 100)):
                assert str(CELSIUS.validate_json(written)) == exact
        assert str(CELSIUS.validate_json("37")) == "37.00"

    @pytest.mark.parametrize(
        "written", ["29.99", "45.01", "37.801", '"37.801"', "true", "NaN", "-37.8", "1e400", "null"]
    )
    def test_that_is_none_is_refused(self, written: str) -> None:
        with pytest.raises(ValidationError):
            CELSIUS.validate_json(written)


class TestFlags:
    @given(purchases, st.booleans(), st.booleans(), st.booleans())
    def test_each_mean_what_they_say(
        self, row: RegistrationIn, incomplete: bool, suspended: bool, exposed: bool
    ) -> None:
        flags = flags_of(row, MOMENT, incomplete=incomplete, suspended=suspended, exposed=exposed)
        who_takes_it = row.patient or row
        hot = who_takes_it.temperature_c is not None and who_takes_it.temperature_c >= Decimal("37.3")
        assert (Flag.FEVER in flags) == hot
        assert (Flag.EXPOSURE in flags) == exposed
        assert (Flag.LATE in flags) == (MOMENT - row.purchased_at > timedelta(hours=24))
        assert ((Flag.INCOMPLETE in flags), (Flag.SOLD_WHILE_SUSPENDED in flags)) == (incomplete, suspended)
        assert flags == [flag for flag in Flag if flag in flags]

    def test_begin_exactly_where_the_rule_says(self) -> None:
        for celsius, hot in ((FEVER_C - Decimal("0.01"), False), (FEVER_C, True)):
            flags = flags_of(
                a_row(temperature_c=str(celsius)), MOMENT, incomplete=False, suspended=False, exposed=False
            )
            assert (Flag.FEVER in flags) == hot
        for age, late in ((ON_TIME, False), (ON_TIME + timedelta(microseconds=1), True)):
            row = a_row(purchased_at=(MOMENT - age).isoformat())
            flags = flags_of(row, MOMENT, incomplete=False, suspended=False, exposed=False)
            assert (Flag.LATE in flags) == late


class TestAdvice:
    @given(st.sets(st.sampled_from(list(Flag))))
    def test_follows_from_the_flags_alone(self, flags: set[Flag]) -> None:
        advice = {one.code for one in advise(list(flags))}
        assert ("refer_to_fever_clinic" in advice) == is_clue(list(flags)) == bool(flags & {Flag.FEVER, Flag.EXPOSURE})
        assert ("not_for_sale" in advice) == (Flag.SOLD_WHILE_SUSPENDED in flags)
        assert ("report_red_code" in advice) == (Flag.RED_CODE in flags)
        assert ("complete_record" in advice) == (Flag.INCOMPLETE in flags)
        # The flags are kept as text; a repeat must get the same advice from what was kept.
        assert advise([flag.value for flag in flags]) == advise(list(flags))

    def test_is_in_two_languages(self) -> None:
        for language in Language:
            told = advise(list(Flag), language)
            assert [one.code for one in told] == list(ADVICE)
            assert all(one.text == getattr(one, language) for one in told)
            assert all(one.zh and not one.zh.isascii() and one.en.isascii() for one in told)


LINES = st.lists(
    st.tuples(st.integers(1, 3), st.none() | st.lists(st.sampled_from(["0", "1", "2"]), max_size=4)),
    min_size=1,
    max_size=4,
)


class TestTraceCodes:
    @given(LINES, st.booleans(), st.sampled_from([date(2025, 12, 31), date(2026, 1, 1)]))
    def test_are_one_for_each_box_where_any_was_scanned_or_all_must_be(
        self, lines: list[tuple[int, list[str] | None]], required: bool, day: date
    ) -> None:
        items = [
            {"name": "合成", "quantity": boxes, "trace_codes": codes and [one * 20 for one in codes]}
            for boxes, codes in lines
        ]
        asked = [RequiredField.TRACE_CODES] if required else []
        lacking, unlike = trace_findings(a_row(items=items), day, range(len(lines)), asked)
        traced = day == date(2026, 1, 1)
        assert [one.pointer for one in lacking] == [
            f"/items/{at}/trace_codes" for at, (_, codes) in enumerate(lines) if not codes and required and traced
        ]
        assert [one.pointer for one in unlike] == [
            f"/items/{at}/trace_codes"
            for at, (boxes, codes) in enumerate(lines)
            if codes and traced and len(set(codes)) != boxes
        ]


class TestQuantities:
    def test_are_counted_by_drug_over_all_lines(self) -> None:
        one, other = UUID(int=1), UUID(int=2)
        row = a_row(items=[{"name": "合成", "quantity": quantity} for quantity in (2, 9, 1, 1)])
        drugs = [(0, one, 3), (1, other, None), (2, one, 3), (3, one, 3)]
        assert [(found.pointer, found.code) for found in large_lines(row, drugs)] == [
            ("/items/3/quantity", "large_quantity")
        ]

    @given(
        st.lists(st.tuples(st.integers(0, 9).map(lambda n: DAY + timedelta(days=n)), st.integers(1, 5)), max_size=6),
        st.integers(0, 9).map(lambda n: DAY + timedelta(days=n)),
        st.integers(1, 5),
    )
    def test_of_some_days_in_a_row_are_the_most_of_any_such_days(
        self, bought: list[tuple[date, int]], day: date, days: int
    ) -> None:
        stretches = [
            sum(packs for on, packs in bought if first <= on < first + timedelta(days=days))
            for first in (day - timedelta(days=back) for back in range(days))
        ]
        assert most_in_a_row(bought, day, days) == max(stretches)


class TestTheForm:
    @given(st.timedeltas(-timedelta(days=60), timedelta(days=60)))
    def test_takes_purchases_of_the_last_thirty_days(self, age: timedelta) -> None:
        found = judge_form(a_row(purchased_at=(MOMENT - age).isoformat()), MOMENT)
        expected = [
            *(["purchased_in_future"] if -age > CLOCK_TOLERANCE else []),
            *(["purchased_too_long_ago"] if age > OLDEST else []),
        ]
        assert [(one.pointer, one.code) for one in found] == [("/purchased_at", code) for code in expected]


class TestPeople:
    @given(purchases)
    def test_are_read_or_refused_with_pointers_into_them(self, row: RegistrationIn) -> None:
        read = read_people(row, MOMENT)
        if isinstance(read, People):
            assert not read.buyer.is_anonymous
            assert (read.patient is None) == (row.patient is None)
            return
        assert read
        assert {one.pointer.split("/")[1] for one in read} <= {"buyer", "patient", "client_reference"}
        assert not [one for one in read if "王" in one.detail or "138" in one.detail]

    @given(purchases, st.sets(st.sampled_from(["name", "document", "phone", "address", "temperature"])))
    def test_lack_only_what_is_required(self, row: RegistrationIn, required: set[str]) -> None:
        read = read_people(row, MOMENT)
        if not isinstance(read, People):
            return
        missing = missing_fields(row, read, required)
        everything = missing_fields(row, read, {"name", "document", "phone", "address", "temperature"})
        assert missing == [one for one in everything if _field(one) in required]
        assert (row.patient is None) <= all(not one.pointer.startswith("/patient") for one in missing)

    @given(st.text(alphabet="0123456789-", max_size=4), st.text(alphabet="0123456789:", max_size=4))
    def test_never_have_their_phone_in_a_reference(self, before: str, after: str) -> None:
        body = a_purchase(f"R.{before}138-0013-8000{after}", buyer=a_person())
        read = read_people(RegistrationIn.model_validate(body), MOMENT)
        assert isinstance(read, list)
        assert [(one.pointer, one.code) for one in read] == [
            ("/client_reference", "client_reference_contains_identity")
        ]


def _field(error: FieldError) -> str:
    last = error.pointer.rsplit("/", 1)[1]
    return "temperature" if last == "temperature_c" else last
