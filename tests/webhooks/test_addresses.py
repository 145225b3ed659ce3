"""Addresses: what a subscriber may not make this service connect to."""

import json
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.addresses import AddressPolicy, refuse_url

DATA: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "standard_webhooks.json").read_text())
VECTORS = DATA["ssrf_addresses"]
CLOSED = AddressPolicy()
OPEN = AddressPolicy.parse(["127.0.0.0/8", "10.20.0.0/16", "fd00:1::/64"])


class TestAnAddress:
    @pytest.mark.parametrize(
        "text", [*VECTORS["deny"], "168.63.129.16", "192.0.0.9", "fe80::1%eth0", "4000::1", "2001:30::1"]
    )
    def test_that_is_not_public_is_forbidden(self, text: str) -> None:
        address = ip_address(text)
        assert CLOSED.reach(address) == "forbidden"
        assert not CLOSED.permits(address, encrypted=True)
        assert not CLOSED.permits(address, encrypted=False)

    @pytest.mark.parametrize("text", VECTORS["allow"])
    def test_that_is_public_is_reached_with_encryption_only(self, text: str) -> None:
        address = ip_address(text)
        assert CLOSED.permits(address, encrypted=True)
        assert not CLOSED.permits(address, encrypted=False)

    @pytest.mark.parametrize("vector", VECTORS["differ"], ids=lambda vector: vector["addr"])
    def test_on_which_others_disagree_is_judged_as_decided(self, vector: dict[str, str]) -> None:
        assert CLOSED.reach(ip_address(vector["addr"])) == vector["ours"], vector["why"]

    @pytest.mark.parametrize("text", ["127.0.0.1", "10.20.3.4", "fd00:1::7", "::ffff:127.0.0.1"])
    def test_in_an_opened_network_is_reached_without_encryption_too(self, text: str) -> None:
        assert OPEN.permits(ip_address(text), encrypted=False)
        assert OPEN.permits(ip_address(text), encrypted=True)

    @pytest.mark.parametrize(
        "text", ["10.21.0.1", "192.168.1.1", "::1", "fd00:1:0:1::7", "64:ff9b::a14:1", "169.254.169.254"]
    )
    def test_beside_an_opened_network_stays_forbidden(self, text: str) -> None:
        assert not OPEN.permits(ip_address(text), encrypted=True)

    @given(st.integers(0, 2**32 - 1).map(IPv4Address))
    def test_has_the_same_reach_in_each_form_that_carries_it_in_the_open(self, address: IPv4Address) -> None:
        mapped = IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
        nat64 = IPv6Address(bytes.fromhex("0064ff9b") + b"\0" * 8 + address.packed)
        assert CLOSED.reach(mapped) == CLOSED.reach(nat64) == CLOSED.reach(address)

    @given(st.one_of(st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 2**128 - 1).map(IPv6Address)))
    def test_that_python_calls_private_is_never_public_except_what_it_carries(
        self, address: IPv4Address | IPv6Address
    ) -> None:
        carried = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        if not (carried or address).is_global:
            assert CLOSED.reach(address) == "forbidden"

    def test_list_is_read_from_networks_and_texts_and_refuses_what_is_none(self) -> None:
        assert AddressPolicy.parse(OPEN.allowed_networks) == OPEN
        with pytest.raises(ValueError, match="does not appear"):
            AddressPolicy.parse(["localhost"])


class TestAUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "https://example.org/hook",
            "https://example.org:8443/hook?a=b",
            "https://1.1.1.1/",
            "https://[2606:4700:4700::1111]:444/x",
            "https://xn--fsqu00a.xn--fiqs8s/",
            "https://localhost/",  # a name: judged where the socket is made
        ],
    )
    def test_over_https_to_a_name_or_a_public_address_is_accepted(self, url: str) -> None:
        assert refuse_url(url, CLOSED) is None

    @pytest.mark.parametrize(
        ("url", "code"),
        [
            ("http://example.org/", "url_not_encrypted"),
            ("http://1.1.1.1/", "url_not_encrypted"),
            ("https://127.0.0.1/", "url_address_forbidden"),
            ("https://[::1]/", "url_address_forbidden"),
            ("https://[::ffff:10.0.0.1]/", "url_address_forbidden"),
            ("https://169.254.169.254/latest/meta-data", "url_address_forbidden"),
            ("https://127.1/", "url_malformed"),
            ("https://2130706433/", "url_malformed"),
            ("https://0x7f000001/", "url_malformed"),
            ("https://0177.0.0.1/", "url_malformed"),
            ("https://[v1.x]/", "url_malformed"),
            ("https://user:pw@example.org/", "url_userinfo"),
            ("https://@example.org/", "url_userinfo"),
            ("https://example.org/#x", "url_fragment"),
            ("https://example.org/#", "url_fragment"),
            ("ftp://example.org/", "url_scheme"),
            ("//example.org/", "url_scheme"),
            ("https:///x", "url_malformed"),
            ("https://./x", "url_malformed"),
            ("https://example.org:0/", "url_malformed"),
            ("https://example.org:99999/", "url_malformed"),
            ("https://exa mple.org/", "url_malformed"),
            ("https://example.org/\n", "url_malformed"),
            ("https://例子.中国/", "url_malformed"),
            ("https://example.org\\@127.0.0.1/", "url_malformed"),
            ("https://example.org/" + "a" * 2048, "url_too_long"),
            ("https://" + "a" * 254 + "/", "url_malformed"),
        ],
    )
    def test_of_another_form_is_refused_with_a_reason(self, url: str, code: str) -> None:
        refusal = refuse_url(url, CLOSED)
        assert refusal is not None
        assert refusal.code == code

    def test_without_encryption_is_accepted_for_opened_networks_alone(self) -> None:
        assert refuse_url("http://10.20.0.5:8000/hook", OPEN) is None
        assert refuse_url("http://internal.example/hook", OPEN) is None  # the address decides, at the socket
        public = refuse_url("http://1.1.1.1/", OPEN)
        private = refuse_url("http://10.21.0.5/", OPEN)
        assert public is not None
        assert private is not None
        assert (public.code, private.code) == ("url_not_encrypted", "url_address_forbidden")

    @given(st.text(max_size=60), st.sampled_from(["", "https://", "http://", "https://["]))
    def test_of_any_kind_is_judged_without_an_exception(self, text: str, start: str) -> None:
        refusal = refuse_url(start + text, CLOSED)
        assert refusal is None or refusal.code.startswith("url_")
