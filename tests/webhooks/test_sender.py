"""Sending, with real sockets: what a subscriber cannot make this service do."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from socket import AddressFamily
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.webhooks.addresses import AddressPolicy
from app.webhooks.rules import Failure, Outcome
from app.webhooks.sender import HostBusy, Sender, SenderLimits
from app.webhooks.signing import new_shared_secret, signed_headers, verify

LOOPBACK = AddressPolicy.parse(["127.0.0.0/8"])
FEW = SenderLimits(connections_per_host=2)
QUICK = replace(FEW, total_seconds=0.5)
"""For those who never answer; whoever answers is given time."""


class Names(AbstractResolver):
    """A name server in which each look-up of a name takes the next address of its list."""

    def __init__(self, **names: list[str]) -> None:
        self.names = {name.replace("_", "."): iter(addresses) for name, addresses in names.items()}
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        if host not in self.names:
            raise OSError(None, "no such name")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=AddressFamily.AF_INET, proto=0, flags=0)
            for address in next(self.names[host]).split(",")
        ]

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Sender(LOOPBACK, limits=FEW) as opened:
        yield opened


@pytest.fixture
async def hurried() -> AsyncIterator[Sender]:
    async with Sender(LOOPBACK, limits=QUICK) as opened:
        yield opened


class TestASentEvent:
    async def test_arrives_byte_for_byte_with_its_signature(
        self, sender: Sender, listening: Any, answering: Any
    ) -> None:
        secret, body = new_shared_secret(), '{"name":"药店"}'.encode()
        headers = signed_headers([secret], message_id="m1", timestamp=1_700_000_000, body=body)
        async with listening(answering("200 OK", b"thanks")) as receiver:
            outcome = await sender.post(receiver.url(), headers=headers, body=body)
        assert (outcome.status, outcome.failure, outcome.excerpt) == (200, None, "thanks")
        request = receiver.received[0]
        assert request.request_line == "POST /hook?a=%2Fb HTTP/1.1"
        assert request.headers["content-type"] == "application/json"
        assert "cookie" not in request.headers
        assert verify([secret], request.headers, request.body, now=1_700_000_000) == "m1"

    async def test_uses_an_open_connection_again(self, sender: Sender, listening: Any, answering: Any) -> None:
        async with listening(answering("204 No Content")) as receiver:
            for _ in range(3):
                assert (await sender.post(receiver.url(), headers={}, body=b"{}")).status == 204
            assert receiver.connections == 1

    async def test_is_put_off_when_slow_answers_take_all_connections(self, listening: Any) -> None:
        async def slow(_request: Any, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.4)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        limits = replace(FEW, connections_per_host=1, busy_seconds=0.1)
        async with listening(slow) as receiver, Sender(LOOPBACK, limits=limits) as sender:
            posts = [sender.post(receiver.url(), headers={}, body=b"{}") for _ in range(3)]
            first, *others = await asyncio.gather(*posts, return_exceptions=True)
            assert isinstance(first, Outcome)
            assert first.status == 200
            assert [type(other) for other in others] == [HostBusy, HostBusy]
            assert (await sender.post(receiver.url(), headers={}, body=b"{}")).status == 200

    async def test_does_not_crowd_one_host(self, listening: Any) -> None:
        open_at_once, most = 0, 0

        async def count(_request: Any, writer: asyncio.StreamWriter) -> None:
            nonlocal open_at_once, most
            open_at_once += 1
            most = max(most, open_at_once)
            await asyncio.sleep(0.45)
            open_at_once -= 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        async with listening(count) as receiver, Sender(LOOPBACK, limits=replace(FEW, total_seconds=2)) as sender:
            # Ten at 0.45 s over two connections take longer than one event may: waiting is not the subscriber's fault.
            posts = [sender.post(receiver.url(), headers={}, body=b"{}") for _ in range(10)]
            outcomes = await asyncio.gather(*posts)
        assert [outcome.status for outcome in outcomes] == [200] * 10
        assert most == 2


class TestAnAnswer:
    async def test_of_failure_is_kept_with_its_beginning(self, sender: Sender, listening: Any, answering: Any) -> None:
        behaviour = answering("503 Busy", b"come\x00back\r\nlater" + b"x" * 5000, "Retry-After: 120\r\n")
        async with listening(behaviour) as receiver:
            outcome = await sender.post(receiver.url(), headers={}, body=b"{}")
        assert (outcome.status, outcome.failure) == (503, Failure.STATUS)
        assert outcome.retry_after == dt.timedelta(seconds=120)
        assert outcome.excerpt.startswith("come back  later")
        assert len(outcome.excerpt) == 1024

    async def test_that_redirects_is_not_followed(self, sender: Sender, listening: Any, answering: Any) -> None:
        async with listening(answering("200 OK")) as elsewhere:
            async with listening(answering("307 Go", b"", f"Location: {elsewhere.url()}\r\n")) as receiver:
                outcome = await sender.post(receiver.url(), headers={}, body=b"{}")
            assert elsewhere.received == []
        assert (outcome.status, outcome.failure) == (307, Failure.REDIRECT)

    async def test_that_never_ends_is_cut_off_after_its_status(self, sender: Sender, listening: Any) -> None:
        sent = 0

        async def flood(_request: Any, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                await writer.drain()
                sent += 65536

        async with listening(flood) as receiver:
            outcome = await sender.post(receiver.url(), headers={}, body=b"{}")
        assert (outcome.status, outcome.failure, len(outcome.excerpt)) == (200, None, 1024)
        assert sent < 16 * 1024 * 1024  # what the kernel's buffers hold, and no more

    async def test_whose_body_hangs_or_drips_counts_by_its_status(self, listening: Any) -> None:
        async def drip(_request: Any, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\nhello")
            await writer.drain()
            await asyncio.sleep(30)

        async with listening(drip) as receiver, Sender(LOOPBACK, limits=replace(FEW, answer_seconds=0.2)) as sender:
            outcome = await sender.post(receiver.url(), headers={}, body=b"{}")
        assert (outcome.status, outcome.failure, outcome.excerpt) == (202, None, "hello")
        assert outcome.duration_ms < FEW.total_seconds * 1_000

    async def test_that_is_compressed_is_not_unpacked(self, sender: Sender, listening: Any, answering: Any) -> None:
        async with listening(answering("200 OK", b"\x1f\x8b bomb", "Content-Encoding: gzip\r\n")) as receiver:
            outcome = await sender.post(receiver.url(), headers={}, body=b"{}")
        assert (outcome.status, outcome.failure) == (200, None)
        assert outcome.excerpt.endswith("bomb")


class TestASilentOrBrokenSubscriber:
    async def test_that_hangs_times_out(self, hurried: Sender, listening: Any) -> None:
        async def hang(_request: Any, _writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(30)

        async with listening(hang) as receiver:
            outcome = await hurried.post(receiver.url(), headers={}, body=b"{}")
        assert (outcome.status, outcome.failure) == (None, Failure.TIMEOUT)
        assert 400 <= outcome.duration_ms < FEW.total_seconds * 1_000

    async def test_that_drips_its_headers_times_out_too(self, hurried: Sender, listening: Any) -> None:
        async def drip(_request: Any, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(100):
                writer.write(f"X-{number}: y\r\n".encode())
                await writer.drain()
                await asyncio.sleep(0.1)

        async with listening(drip) as receiver:
            outcome = await hurried.post(receiver.url(), headers={}, body=b"{}")
        assert outcome.failure is Failure.TIMEOUT

    @pytest.mark.parametrize(
        ("bytes_sent", "failure"),
        [
            (b"", Failure.CONNECTION),
            (b"SSH-2.0-OpenSSH_9.9\r\n", Failure.ANSWER_MALFORMED),
            (b"HTTP/1.1 abc OK\r\n\r\n", Failure.ANSWER_MALFORMED),
            (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", Failure.ANSWER_MALFORMED),
            (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5_000 + b"\r\n", Failure.ANSWER_MALFORMED),
        ],
        ids=["nothing", "other-protocol", "bad-status", "huge-header", "many-headers"],
    )
    async def test_that_speaks_no_http_is_told_apart(
        self, sender: Sender, listening: Any, bytes_sent: bytes, failure: Failure
    ) -> None:
        async def babble(_request: Any, writer: asyncio.StreamWriter) -> None:
            writer.write(bytes_sent)
            await writer.drain()
            writer.close()

        async with listening(babble) as receiver:
            outcome = await sender.post(receiver.url(), headers={}, body=b"{}")
        assert (outcome.status, outcome.failure) == (None, failure)

    async def test_that_resets_or_refuses_is_a_failed_connection(self, sender: Sender, listening: Any) -> None:
        async def reset(_request: Any, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        async with listening(reset) as receiver:
            assert (await sender.post(receiver.url(), headers={}, body=b"{}")).failure is Failure.CONNECTION
        assert (await sender.post(receiver.url(), headers={}, body=b"{}")).failure is Failure.CONNECTION

    async def test_whose_name_is_unknown_is_told_apart(self) -> None:
        async with Sender(LOOPBACK, limits=FEW, resolver=Names()) as sender:
            outcome = await sender.post("http://nowhere.test/", headers={}, body=b"{}")
        assert outcome.failure is Failure.NAME_NOT_RESOLVED

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http:///x", "http://127.1/", "http://2130706433/", "x"])
    async def test_whose_url_makes_no_sense_is_refused(self, sender: Sender, url: str) -> None:
        assert (await sender.post(url, headers={}, body=b"{}")).failure is Failure.URL_REFUSED


class TestAnAddress:
    @pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "10.0.0.1", "[::1]", "169.254.169.254"])
    async def test_written_into_the_url_is_checked(self, host: str) -> None:
        async with Sender(AddressPolicy(), limits=FEW) as sender:
            for scheme in ("http", "https"):
                outcome = await sender.post(f"{scheme}://{host}:9/", headers={}, body=b"{}")
                assert outcome.failure is Failure.ADDRESS_FORBIDDEN

    async def test_behind_a_name_is_checked(self, listening: Any, answering: Any) -> None:
        names = Names(private_test=["127.0.0.1", "10.0.0.1,127.0.0.1"])
        async with listening(answering("200 OK")) as receiver, Sender(AddressPolicy(), resolver=names) as sender:
            for _ in range(2):
                outcome = await sender.post(receiver.url("private.test"), headers={}, body=b"{}")
                assert outcome.failure is Failure.ADDRESS_FORBIDDEN
            assert receiver.connections == 0

    async def test_that_changes_between_two_look_ups_is_checked_each_time(self, listening: Any, answering: Any) -> None:
        policy = AddressPolicy.parse(["127.0.0.1/32"])
        names = Names(rebound_test=["127.0.0.1", "127.0.0.2"])
        closing = answering("200 OK", b"", "Connection: close\r\n")
        async with listening(closing) as receiver, Sender(policy, limits=FEW, resolver=names) as sender:
            url = receiver.url("rebound.test")
            assert (await sender.post(url, headers={}, body=b"{}")).status == 200
            assert (await sender.post(url, headers={}, body=b"{}")).failure is Failure.ADDRESS_FORBIDDEN
        assert names.asked == 2

    async def test_that_is_allowed_is_used_where_another_of_the_name_is_not(
        self, listening: Any, answering: Any
    ) -> None:
        names = Names(mixed_test=["10.0.0.1,127.0.0.1"])
        async with listening(answering("200 OK")) as receiver, Sender(LOOPBACK, resolver=names) as sender:
            assert (await sender.post(receiver.url("mixed.test"), headers={}, body=b"{}")).status == 200

    async def test_in_public_is_not_reached_without_encryption(self) -> None:
        async with Sender(LOOPBACK, limits=FEW, resolver=Names(public_test=["93.184.216.34"])) as sender:
            outcome = await sender.post("http://public.test/", headers={}, body=b"{}")
        assert outcome.failure is Failure.ADDRESS_FORBIDDEN

    async def test_of_a_proxy_in_the_environment_is_ignored(
        self, sender: Sender, listening: Any, answering: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with listening(answering("200 OK")) as receiver, listening(answering("200 OK")) as proxy:
            for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            assert (await sender.post(receiver.url(), headers={}, body=b"{}")).status == 200
            assert proxy.connections == 0


class TestEncryption:
    async def test_with_a_trusted_certificate_succeeds(self, listening: Any, answering: Any, tmp_path: Path) -> None:
        server, trusted = certificate(tmp_path, "hooks.test")
        sender = Sender(LOOPBACK, limits=FEW, resolver=Names(hooks_test=["127.0.0.1"]), tls=trusted)
        async with listening(answering("200 OK"), server) as receiver, sender:
            outcome = await sender.post(receiver.url("hooks.test", "https"), headers={}, body=b"{}")
        assert (outcome.status, outcome.failure) == (200, None)

    @pytest.mark.parametrize(("name", "trust"), [("other.test", True), ("hooks.test", False)])
    async def test_with_another_name_or_an_unknown_authority_fails(
        self, listening: Any, answering: Any, tmp_path: Path, name: str, trust: bool
    ) -> None:
        server, trusted = certificate(tmp_path, name)
        names = Names(hooks_test=["127.0.0.1"])
        async with listening(answering("200 OK"), server) as receiver:
            async with Sender(LOOPBACK, limits=FEW, resolver=names, tls=trusted if trust else None) as sender:
                outcome = await sender.post(receiver.url("hooks.test", "https"), headers={}, body=b"{}")
            assert receiver.received == []
        assert (outcome.status, outcome.failure) == (None, Failure.TLS)

    async def test_with_a_server_that_has_none_fails(self, hurried: Sender, listening: Any, answering: Any) -> None:
        async with listening(answering("200 OK")) as receiver:
            outcome = await hurried.post(receiver.url(scheme="https"), headers={}, body=b"{}")
        assert outcome.failure in (Failure.TLS, Failure.CONNECTION, Failure.TIMEOUT)


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A self-signed certificate for a name: the server's context, and that of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(IPv4Address("127.0.0.9"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem, private)
    return server, ssl.create_default_context(cafile=str(pem))
