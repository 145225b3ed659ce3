"""The chain of receipts as a pure thing: whatever is done to it is found."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.sealing import Keyring
from app.registrations import chain
from app.registrations.chain import PURPOSE, Entry, LinkKind, Receipt, content_of, key_id_of, stretches
from app.registrations.receipts import sign
from app.registrations.schemas import RegistrationIn
from app.registrations.verifying import Report, read_keys, verify
from tests.factories.world import a_purchase

PHARMACY = UUID("01890000-0000-7000-8000-000000000001")
START = datetime(2026, 2, 15, 2, 0, tzinfo=UTC)
KEYRING = Keyring({1: bytes(range(32)), 2: bytes(range(1, 33))})


def published() -> str:
    """The public keys as `GET /v1/receipts/keys` tells them, as far as they are read."""
    public = [KEYRING.public_key(PURPOSE, key_id) for key_id in KEYRING.key_ids]
    keys = [{"kid": key_id_of(one), "x": base64.urlsafe_b64encode(one).decode().rstrip("=")} for one in public]
    return json.dumps({"keys": keys})


KEYS = read_keys(published())


def a_chain(length: int) -> list[dict[str, Any]]:
    """Receipts of synthetic purchases, an hour apart, with what was sent."""
    lines: list[dict[str, Any]] = []
    previous = chain.GENESIS
    for at in range(length):
        sent = a_purchase(f"SYN-{at}", temperature_c=36 + at / 10)
        content = content_of(RegistrationIn.model_validate_json(json.dumps(sent)))
        entry = Entry(PHARMACY, UUID(int=at + 1), f"SYN-{at}", 1, LinkKind.RECORDED, content)
        [receipt] = chain.append(
            [(entry, bytes([at] * 16))],
            number=at,
            previous=previous,
            received_at=START + timedelta(hours=at),
            key_id=1 + at % 2,
        )
        previous = receipt.hash
        lines.append({"sent": sent, "receipt": json.loads(sign(receipt, KEYRING).model_dump_json())})
    return lines


WHOLE = a_chain(8)


def checked(lines: list[dict[str, Any]]) -> Report:
    return verify([json.dumps(line) for line in lines], KEYS)


def numbers(count: int) -> list[Receipt]:
    entries = [
        (Entry(PHARMACY, UUID(int=at), f"S-{at}", 1, LinkKind.RECORDED, b"{}"), bytes([at] * 16)) for at in range(count)
    ]
    return list(chain.append(entries, number=0, previous=chain.GENESIS, received_at=START, key_id=1))


class TestAChain:
    def test_that_is_whole_has_no_findings(self) -> None:
        report = checked(WHOLE)
        assert (list(report.findings), report.contents) == ([], 8)
        assert report.pharmacies == {PHARMACY: (1, 8)}

    @given(st.data())
    @settings(max_examples=60)
    def test_shows_any_byte_that_was_changed(self, data: st.DataObject) -> None:
        lines = json.loads(json.dumps(WHOLE))
        line = data.draw(st.integers(0, 7))
        receipt = lines[line]["receipt"]
        member = data.draw(st.sampled_from(sorted(receipt)))
        value = receipt[member]
        if isinstance(value, int):
            receipt[member] = data.draw(st.integers(0, 99).filter(lambda other: other != value))
        else:
            at = data.draw(st.integers(0, len(value) - 1))
            other = data.draw(st.sampled_from([c for c in "0123456789abcdefSYN-:TZ" if c != value[at]]))
            receipt[member] = value[:at] + other + value[at + 1 :]
        assert checked(lines).findings

    @given(st.integers(0, 6))
    @settings(max_examples=7)
    def test_shows_where_a_link_was_removed(self, line: int) -> None:
        [finding] = checked(WHOLE[:line] + WHOLE[line + 1 :]).findings
        assert (finding.code, finding.line, finding.number) == ("removed", line + 1, line + 2)

    @given(st.permutations(range(8)).filter(lambda order: order != list(range(8))))
    @settings(max_examples=30)
    def test_shows_another_order(self, order: list[int]) -> None:
        assert {finding.code for finding in checked([WHOLE[at] for at in order]).findings} & {"out_of_order", "removed"}

    @given(st.integers(0, 7))
    @settings(max_examples=8)
    def test_shows_a_link_that_was_slipped_in_even_by_who_holds_the_key(self, place: int) -> None:
        """The service itself, with its keys, makes a false link: the one that follows names another."""
        lines = json.loads(json.dumps(WHOLE))
        entry = Entry(PHARMACY, UUID(int=99), "FALSE", 1, LinkKind.RECORDED, b"{}")
        previous = bytes.fromhex(WHOLE[place]["receipt"]["previous"])
        [false] = chain.append(
            [(entry, bytes(16))], number=place, previous=previous, received_at=START + timedelta(hours=place), key_id=1
        )
        lines[place] = {"receipt": json.loads(sign(false, KEYRING).model_dump_json())}
        codes = {finding.code for finding in checked(lines).findings}
        assert codes == ({"does_not_follow"} if place < 7 else set())  # the last one: nobody else holds it yet
        assert {"forked"} <= {finding.code for finding in checked([*WHOLE[: place + 1], *lines[place:]]).findings}

    def test_shows_a_record_that_was_dated_back(self) -> None:
        """Appended today with yesterday's time, signed by the service."""
        entry = Entry(PHARMACY, UUID(int=99), "LATE", 1, LinkKind.RECORDED, b"{}")
        previous = bytes.fromhex(WHOLE[-1]["receipt"]["hash"])
        for back, codes in ((timedelta(minutes=1), []), (timedelta(hours=8), ["dated_back"])):
            at = START + timedelta(hours=7) - back
            [late] = chain.append([(entry, bytes(16))], number=8, previous=previous, received_at=at, key_id=1)
            line = {"receipt": json.loads(sign(late, KEYRING).model_dump_json())}
            assert [finding.code for finding in checked([*WHOLE, line]).findings] == codes


class TestAContent:
    def test_is_the_same_however_it_is_written_and_another_without_its_salt(self) -> None:
        one = RegistrationIn.model_validate(a_purchase(patient=None, checks=None, symptoms=[]))
        other = RegistrationIn.model_validate(a_purchase(purchased_at="2026-02-15T01:41:07Z", temperature_c="36.60"))
        assert content_of(one) == content_of(other)
        assert b"null" not in content_of(one)
        assert chain.commitment_of(bytes(16), b"x") != chain.commitment_of(bytes([1] * 16), b"x")


class TestStretches:
    @given(st.sets(st.integers(0, 19), min_size=1))
    @settings(max_examples=40)
    def test_cover_all_and_break_where_a_number_is_missing(self, kept: set[int]) -> None:
        receipts = [receipt for at, receipt in enumerate(numbers(20)) if at in kept]
        covered: list[int] = []
        for stretch in stretches(reversed(receipts)):
            covered += range(stretch.first.link.number, stretch.last.link.number + 1)
        assert covered == sorted(at + 1 for at in kept)

    def test_of_two_pharmacies_are_two(self) -> None:
        other = numbers(2)
        for receipt in other:
            receipt.link.pharmacy_id = UUID(int=7)
        assert len(list(stretches([*numbers(2), *other]))) == 2


class TestAKey:
    def test_bears_the_name_of_what_it_is(self) -> None:
        assert list(KEYS) == [key_id_of(KEYRING.public_key(PURPOSE, key_id)) for key_id in (1, 2)]
        for broken in (
            "{}",
            "[]",
            '{"keys": [{"kid": "0", "x": "AAAA"}]}',
            published().replace('"kid": "', '"kid": "0'),
        ):
            try:
                read_keys(broken)
            except ValueError:
                continue
            raise AssertionError(broken)
