"""Sealing and keyed hashes."""

import base64
import hashlib
import hmac
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from app.core.sealing import HashKind, Keyring, KeyringInvalid, KeyUnknown, SealBroken, load_or_create

FIRST, SECOND = bytes(range(32)), bytes(range(32, 64))  # synthetic
ROW = UUID("019c0000-0000-7000-8000-000000000001")
OLD, NEW = Keyring({1: FIRST}), Keyring({1: FIRST, 2: SECOND})
PLACE = {"table": "people", "row": ROW, "column": "sealed"}


class TestASealedValue:
    @given(st.binary(max_size=300))
    def test_opens_where_it_was_sealed(self, plaintext: bytes) -> None:
        assert OLD.open(OLD.seal(plaintext, **PLACE), **PLACE) == plaintext

    def test_is_different_each_time(self) -> None:
        assert OLD.seal(b"synthetic", **PLACE) != OLD.seal(b"synthetic", **PLACE)

    def test_does_not_open_once_any_bit_is_changed(self) -> None:
        sealed = NEW.seal(b"synthetic person", **PLACE)
        for position in range(len(sealed)):
            for bit in range(8):
                changed = bytearray(sealed)
                changed[position] ^= 1 << bit
                with pytest.raises((SealBroken, KeyUnknown)):
                    NEW.open(bytes(changed), **PLACE)

    def test_does_not_open_when_cut_or_extended(self) -> None:
        sealed = OLD.seal(b"", **PLACE)
        for changed in (sealed[:-1], sealed + b"\0", sealed[:10], b""):
            with pytest.raises((SealBroken, KeyUnknown)):
                OLD.open(changed, **PLACE)

    @pytest.mark.parametrize(
        "other",
        [
            {"table": "cases"},
            {"row": UUID("019c0000-0000-7000-8000-000000000002")},
            {"column": "seale"},
            {"table": "peopl", "column": "esealed"},
            {"table": "people\0", "column": "sealed"},
        ],
    )
    def test_does_not_open_elsewhere(self, other: dict[str, object]) -> None:
        sealed = OLD.seal(b"synthetic", **PLACE)
        with pytest.raises(SealBroken):
            OLD.open(sealed, **{**PLACE, **other})

    def test_keeps_two_places_apart_whose_names_run_together_alike(self) -> None:
        row = UUID(bytes=b"a" * 16)
        sealed = OLD.seal(b"synthetic", table="x", row=row, column="ab")
        with pytest.raises(SealBroken):
            OLD.open(sealed, table="xa", row=row, column="b")

    def test_opens_after_a_rotation_and_names_its_key(self) -> None:
        sealed = OLD.seal(b"synthetic", **PLACE)
        assert NEW.open(sealed, **PLACE) == b"synthetic"
        assert NEW.seal(b"synthetic", **PLACE)[:2] == b"\x00\x02"

    def test_of_a_key_not_held_is_told_apart(self) -> None:
        with pytest.raises(KeyUnknown, match="master key 2"):
            OLD.open(NEW.seal(b"synthetic", **PLACE), **PLACE)

    def test_does_not_open_under_another_key_of_the_same_id(self) -> None:
        with pytest.raises(SealBroken):
            Keyring({1: SECOND}).open(OLD.seal(b"synthetic", **PLACE), **PLACE)


class TestAKeyedHash:
    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.sampled_from(HashKind))
    def test_is_hmac_sha256_under_the_derived_key(self, value: str, kind: HashKind) -> None:
        key = HKDF(SHA256(), 32, None, f"pharmacy-sentinel/hash/{kind.value}".encode()).derive(FIRST)
        assert OLD.hash(kind, value) == hmac.digest(key, value.encode(), "sha256")[:16]

    def test_differs_between_kinds_keys_and_values(self) -> None:
        hashes = {
            ring.hash(kind, value)
            for ring in (OLD, Keyring({2: SECOND}))
            for kind in HashKind
            for value in ("a", "b", "")
        }
        assert len(hashes) == 2 * len(HashKind) * 3

    def test_is_not_the_plain_hash(self) -> None:
        assert OLD.hash(HashKind.PHONE, "+8613800138000") != hashlib.sha256(b"+8613800138000").digest()[:16]

    def test_is_the_same_after_a_rotation(self) -> None:
        assert NEW.hash(HashKind.PHONE, "+8613800138000") == OLD.hash(HashKind.PHONE, "+8613800138000")
        assert (NEW.index_key_id, NEW.key_id) == (1, 2)


class TestAnAuthenticationCode:
    def test_has_32_bytes_and_a_key_for_each_purpose(self) -> None:
        assert len(OLD.mac("audit", b"entry")) == 32
        assert OLD.mac("audit", b"entry") != OLD.mac("receipt", b"entry")

    def test_can_be_computed_again_after_a_rotation(self) -> None:
        assert NEW.mac("audit", b"entry", key_id=1) == OLD.mac("audit", b"entry")
        assert NEW.mac("audit", b"entry") != OLD.mac("audit", b"entry")
        with pytest.raises(KeyUnknown):
            OLD.mac("audit", b"entry", key_id=2)


class TestAKeyring:
    def test_reads_what_it_writes(self) -> None:
        assert Keyring.parse(NEW.notation()).notation() == NEW.notation()
        assert Keyring.parse(f" {NEW.notation()}\n".replace(",", " ,\n")).key_id == 2

    @pytest.mark.parametrize(
        "text",
        [
            "",
            ",",
            "1",
            "1:",
            "1:c2hvcnQ=",
            "0:" + base64.b64encode(FIRST).decode(),
            "-1:" + base64.b64encode(FIRST).decode(),
            "32768:" + base64.b64encode(FIRST).decode(),
            "²:" + base64.b64encode(FIRST).decode(),
            "1:" + base64.b64encode(FIRST).decode()[:-1],
            "1:" + base64.b64encode(FIRST + b"x").decode(),
            "1:é",
            OLD.notation() + ",",
            OLD.notation() + "," + OLD.notation(),
            "9" * 5000 + ":",
        ],
    )
    def test_refuses_what_is_not_keys_without_repeating_it(self, text: str) -> None:
        with pytest.raises(KeyringInvalid) as refused:
            Keyring.parse(text)
        assert base64.b64encode(FIRST).decode()[:8] not in str(refused.value)
        assert refused.value.__suppress_context__ or refused.value.__context__ is None

    def test_needs_a_key(self) -> None:
        with pytest.raises(KeyringInvalid):
            Keyring({})

    def test_refuses_a_new_key_below_the_index_key(self) -> None:
        with pytest.raises(KeyringInvalid, match="ascend"):
            Keyring({2: SECOND, 1: FIRST})

    def test_never_shows_its_keys(self) -> None:
        assert repr(NEW) == str(NEW) == "Keyring(ids=[1, 2], current=2)"
        with pytest.raises(TypeError):
            pickle.dumps(NEW)

    def test_is_random_when_generated(self) -> None:
        assert Keyring.generate().notation() != Keyring.generate().notation()


class TestAKeyFile:
    def test_is_made_once_and_only_for_its_owner(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "sealing.keys"
        first = load_or_create(path)
        assert load_or_create(path).notation() == first.notation()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [file.name for file in path.parent.iterdir()] == ["sealing.keys"]

    def test_is_the_same_for_all_who_make_it_at_once(self, tmp_path: Path) -> None:
        for attempt in range(20):
            path = tmp_path / str(attempt) / "sealing.keys"
            with ThreadPoolExecutor(8) as pool:
                rings = list(pool.map(load_or_create, [path] * 8))
            assert len({ring.notation() for ring in rings}) == 1

    def test_is_refused_when_others_may_read_it(self, tmp_path: Path) -> None:
        path = tmp_path / "sealing.keys"
        path.write_text(NEW.notation())
        path.chmod(0o640)
        with pytest.raises(KeyringInvalid, match="0600"):
            load_or_create(path)

    def test_is_refused_when_it_holds_something_else(self, tmp_path: Path) -> None:
        path = tmp_path / "sealing.keys"
        path.write_bytes(uuid4().bytes + b"\xff")
        path.chmod(0o600)
        with pytest.raises(KeyringInvalid):
            load_or_create(path)
