from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from app.core.clock import CHINA, SystemClock, china_day, day_start

offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(datetime(1992, 1, 1), datetime(2199, 12, 31), timezones=offsets)  # noqa: DTZ001 - made aware


class TestADayInChina:
    @given(instants)
    def test_holds_the_instants_from_its_start_to_the_next_ones(self, instant: datetime) -> None:
        day = china_day(instant)
        assert day_start(day) <= instant < day_start(day + timedelta(days=1))
        assert china_day(instant.astimezone(UTC)) == day

    def test_begins_at_four_in_the_afternoon_utc(self) -> None:
        assert day_start(date(2026, 2, 15)) == datetime(2026, 2, 14, 16, tzinfo=UTC)
        assert day_start(date(2026, 2, 15)).tzinfo is CHINA


class TestTheSystemClock:
    def test_tells_aware_time_in_utc(self) -> None:
        assert SystemClock().now().utcoffset() == timedelta(0)
