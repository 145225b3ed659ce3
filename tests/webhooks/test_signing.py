"""Signing: the vectors of the specification's own test suites, and what must hold for any message."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.signing import (
    ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    PrivateKey,
    PublicKey,
    SecretMalformed,
    SharedSecret,
    SignatureRefused,
    new_private_key,
    new_shared_secret,
    parse_secret,
    parse_verifying_key,
    signed_headers,
    verify,
)

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "standard_webhooks.json").read_text())
BASIC = VECTORS["sign"][0]
NOW = BASIC["timestamp"]
SIGNED = [vector for vector in (*VECTORS["sign"], *VECTORS["derived"]) if "expected" in vector]

private_keys = st.binary(min_size=32, max_size=32).map(PrivateKey)
shared_secrets = st.binary(min_size=16, max_size=64).map(SharedSecret)
message_ids = st.from_regex(r"\A[A-Za-z0-9_-]{1,40}\Z")


def named(vector: dict[str, Any]) -> str:
    return str(vector.get("name") or vector.get("key") or "empty")


class TestASignature:
    @pytest.mark.parametrize("vector", SIGNED, ids=named)
    def test_is_the_one_that_the_reference_libraries_make(self, vector: dict[str, Any]) -> None:
        secret = parse_secret(vector.get("secret") or vector["secret_key"])
        body = bytes.fromhex(vector["payload_hex"]) if "payload_hex" in vector else vector["payload"].encode()
        headers = signed_headers([secret], message_id=vector["id"], timestamp=vector["timestamp"], body=body)
        assert headers[SIGNATURE_HEADER] == vector["expected"]
        verifier = parse_verifying_key(vector.get("public_key") or vector.get("secret"))
        assert verify([verifier], headers, body, now=vector["timestamp"]) == vector["id"]

    def test_of_both_schemes_may_stand_in_one_header_and_either_key_accepts_it(self) -> None:
        keys = [parse_secret(BASIC["secret"]), parse_secret(VECTORS["sign"][2]["secret_key"])]
        body = BASIC["payload"].encode()
        headers = signed_headers(keys, message_id=BASIC["id"], timestamp=NOW, body=body)
        rotation = next(vector for vector in VECTORS["derived"] if "header" in vector)
        assert headers[SIGNATURE_HEADER] == rotation["header"]
        for key in keys:
            assert verify([key], headers, body, now=NOW) == BASIC["id"]

    @given(
        st.lists(st.one_of(shared_secrets, private_keys), min_size=1, max_size=4), message_ids, st.binary(max_size=200)
    )
    def test_of_each_secret_in_force_is_accepted_by_whoever_holds_it(
        self, secrets: list[SharedSecret | PrivateKey], message_id: str, body: bytes
    ) -> None:
        headers = signed_headers(secrets, message_id=message_id, timestamp=NOW, body=body)
        for secret in secrets:
            assert verify([secret], headers, body, now=NOW) == message_id

    @given(st.one_of(shared_secrets, private_keys), message_ids, st.binary(max_size=120), st.data())
    def test_breaks_with_any_changed_byte(
        self, secret: SharedSecret | PrivateKey, message_id: str, body: bytes, data: st.DataObject
    ) -> None:
        headers = signed_headers([secret], message_id=message_id, timestamp=NOW, body=body)
        parts = [headers[ID_HEADER], headers[TIMESTAMP_HEADER], headers[SIGNATURE_HEADER], body.decode("latin-1")]
        part = data.draw(st.sampled_from([index for index, text in enumerate(parts) if text]))
        at = data.draw(st.integers(0, len(parts[part]) - 1))
        other = data.draw(st.characters(max_codepoint=255).filter(lambda c: c != parts[part][at]))
        parts[part] = parts[part][:at] + other + parts[part][at + 1 :]
        changed = dict(zip((ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER), parts[:3], strict=True))
        with pytest.raises(SignatureRefused):
            verify([secret], changed, parts[3].encode("latin-1"), now=NOW, tolerance_seconds=10**12)

    @given(st.binary(max_size=60), st.integers(0, 59))
    def test_does_not_survive_a_shortened_body(self, body: bytes, keep: int) -> None:
        secret = SharedSecret(b"k" * 32)
        headers = signed_headers([secret], message_id="m", timestamp=NOW, body=body + b"x")
        with pytest.raises(SignatureRefused):
            verify([secret], headers, (body + b"x")[: min(keep, len(body))], now=NOW)

    def test_has_one_spelling_only(self) -> None:
        key = new_private_key()
        headers = signed_headers([key], message_id="m", timestamp=NOW, body=b"{}")
        spelled = headers[SIGNATURE_HEADER]
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        # The last character before the padding holds four spare bits: the next letter decodes to the same bytes.
        other = spelled[:-3] + alphabet[alphabet.index(spelled[-3]) + 1] + "=="
        assert base64.b64decode(other[4:]) == base64.b64decode(spelled[4:])
        with pytest.raises(SignatureRefused):
            verify([key], {**headers, SIGNATURE_HEADER: other}, b"{}", now=NOW)

    def test_needs_a_secret(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            signed_headers([], message_id="m", timestamp=NOW, body=b"")


class TestASubscriber:
    @pytest.mark.parametrize("vector", VECTORS["verify"], ids=named)
    def test_decides_as_the_reference_libraries_do(self, vector: dict[str, Any]) -> None:
        secret = parse_secret(vector.get("secret", BASIC["secret"]))
        body = vector.get("payload", BASIC["payload"]).encode()
        stamp = NOW + vector.get("timestamp_offset_seconds", 0)
        message_id = vector.get("headers", {}).get(ID_HEADER, BASIC["id"])
        genuine = signed_headers([secret], message_id=message_id, timestamp=stamp, body=body)
        headers = dict(genuine)
        for name, value in vector.get("headers", {}).items():
            headers[name] = value.replace("<now>", str(NOW)).replace("<valid>", genuine[SIGNATURE_HEADER])
        headers.pop(vector.get("omit", ""), None)
        if "headers_as" in vector:
            headers = dict(zip(vector["headers_as"], headers.values(), strict=True))
        if vector["valid"]:
            assert verify([secret], headers, body, now=NOW) == message_id
        else:
            with pytest.raises(SignatureRefused):
                verify([secret], headers, body, now=NOW)

    @pytest.mark.parametrize(("offset", "code"), [(-301, "too_old"), (301, "too_new"), (-300, None), (300, None)])
    def test_tolerates_five_minutes_either_way(self, offset: int, code: str | None) -> None:
        secret = new_shared_secret()
        headers = signed_headers([secret], message_id="m", timestamp=NOW + offset, body=b"{}")
        if code is None:
            assert verify([secret], headers, b"{}", now=NOW) == "m"
        else:
            with pytest.raises(SignatureRefused) as refused:
                verify([secret], headers, b"{}", now=NOW)
            assert refused.value.code == code

    def test_of_an_other_secret_refuses(self) -> None:
        headers = signed_headers([new_shared_secret(), new_private_key()], message_id="m", timestamp=NOW, body=b"{}")
        with pytest.raises(SignatureRefused) as refused:
            verify([new_shared_secret(), new_private_key().public_key], headers, b"{}", now=NOW)
        assert refused.value.code == "no_match"

    def test_reads_only_the_first_signatures_of_an_endless_header(self) -> None:
        secret = new_shared_secret()
        headers = signed_headers([secret], message_id="m", timestamp=NOW, body=b"{}")
        headers[SIGNATURE_HEADER] = "v1,AAAA " * 16 + headers[SIGNATURE_HEADER]
        with pytest.raises(SignatureRefused):
            verify([secret], headers, b"{}", now=NOW)


class TestASecret:
    @pytest.mark.parametrize("vector", VECTORS["secrets"], ids=named)
    def test_is_read_as_the_reference_libraries_read_it(self, vector: dict[str, Any]) -> None:
        if vector["ok"]:
            parse_secret(vector["key"])
        else:
            with pytest.raises(SecretMalformed):
                parse_secret(vector["key"])

    @given(st.one_of(shared_secrets, private_keys))
    def test_survives_being_written_and_read(self, secret: SharedSecret | PrivateKey) -> None:
        assert parse_secret(secret.text()) == secret

    def test_does_not_show_itself_when_printed_or_refused(self) -> None:
        for secret in (new_shared_secret(), new_private_key()):
            assert secret.text()[-20:] not in repr(secret)
            assert "key=" not in repr(secret)
            assert "seed=" not in repr(secret)
        with pytest.raises(SecretMalformed) as refused:
            parse_secret("whsec_shortsecret")
        assert "shortsecret" not in str(refused.value)

    def test_of_the_public_kind_survives_too_and_cannot_sign(self) -> None:
        public = new_private_key().public_key
        assert parse_verifying_key(public.text()) == public
        assert isinstance(public, PublicKey)
        with pytest.raises(SecretMalformed):
            parse_secret(public.text())
        with pytest.raises(SecretMalformed):
            parse_verifying_key("whpk_AAAA")
