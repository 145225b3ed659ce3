"""To which addresses an event may be sent, and what a subscription's URL must look like.

A subscriber names a URL and this service opens a connection to it: without a rule that is a door into the operator's own
network. The rule is a list of what is public, not of what is known to be bad, because `ipaddress.is_global` of the standard
library lets multicast, 6to4, NAT64 and IPv4-compatible forms of private addresses through. Names are not judged here but
where the socket is made (`sender.py`): only the address that is really connected to counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, Literal
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

MAX_URL_LENGTH: Final = 2048

# IANA IPv4 special-purpose registry, multicast (RFC 5771) and class E (RFC 1112). 192.0.0.0/24 is refused whole although two
# of its anycast addresses are reachable: they are services of the local network. 168.63.129.16 is a public number under
# which Azure's host agent answers inside a virtual machine.
_NOT_PUBLIC_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Everything that is public in IPv6 lies in 2000::/3 (RFC 4291). Inside it: protocol assignments with Teredo, ORCHID, PCP and
# TURN anycast (2001::/23 – the anycast ones reach the nearest router, which is our own network), documentation (two
# ranges) and 6to4, whose relay would unpack any IPv4 address.
_PUBLIC_V6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64: Final = IPv6Network("64:ff9b::/96")

Reach = Literal["public", "allowed_network", "forbidden"]


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Which networks of their own the operators have opened to deliveries (setting, CIDRs; none by default)."""

    allowed_networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, networks: Iterable[str | Network]) -> "AddressPolicy":
        """From CIDR texts. Raises `ValueError` for what is no network."""
        return cls(tuple(ip_network(str(network)) for network in networks))

    def reach(self, address: Address) -> Reach:
        """Where does this address lie?

        An IPv4-mapped address is the IPv4 address that the kernel would connect to. A NAT64 address (64:ff9b::/96) is as
        public as the IPv4 address it carries, or networks with DNS64 would lose every delivery; it is never opened by an
        IPv4 network in the list, because the gateway's 10.0.0.0/8 is not the operator's.
        """
        plain = address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
        if any(plain in network for network in self.allowed_networks if network.version == plain.version):
            return "allowed_network"
        return "public" if _is_public(plain) else "forbidden"

    def permits(self, address: Address, *, encrypted: bool) -> bool:
        """May a connection be opened? Without TLS only to a network that the operators have opened."""
        reach = self.reach(address)
        return reach == "allowed_network" or (encrypted and reach == "public")


@dataclass(frozen=True, slots=True)
class UrlRefusal:
    """Why a URL cannot be subscribed: a stable code and a sentence."""

    code: str
    detail: str


def refuse_url(url: str, policy: AddressPolicy) -> UrlRefusal | None:
    """Judge a subscription's URL by its form; None means that nothing speaks against it.

    Host names are not resolved: what a name means may change any time, so it is asked at every connection. Plain http is
    accepted for a name only where the operators have opened some network at all.
    """
    if len(url) > MAX_URL_LENGTH:
        return UrlRefusal("url_too_long", f"A URL has at most {MAX_URL_LENGTH} characters.")
    if not (url.isascii() and url.isprintable()) or any(character in url for character in ' "<>\\^`{|}'):
        return UrlRefusal(
            "url_malformed", "Write the URL in ASCII: host in punycode, other characters percent-encoded."
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return UrlRefusal("url_malformed", "This is not a URL.")
    if parts.scheme not in ("https", "http"):
        return UrlRefusal("url_scheme", "The URL must begin with https://.")
    if not host or port == 0 or len(host) > 253:
        return UrlRefusal("url_malformed", "The URL names no host, or no usable port.")
    if "@" in parts.netloc:
        return UrlRefusal("url_userinfo", "The URL must not carry a user name or password.")
    if "#" in url:
        return UrlRefusal("url_fragment", "The URL must not carry a fragment.")
    return _refuse_host(host, policy, encrypted=parts.scheme == "https", bracketed="[" in parts.netloc)


def _refuse_host(host: str, policy: AddressPolicy, *, encrypted: bool, bracketed: bool) -> UrlRefusal | None:
    try:
        address = ip_address(host)
    except ValueError:
        # 127.1, 2130706433 and 0x7f000001 are not names: the resolver would read them as addresses.
        last_label = host.rstrip(".").rpartition(".")[2]
        if bracketed or ":" in host or not last_label or last_label.isdigit() or last_label.startswith("0x"):
            return UrlRefusal("url_malformed", "The host is neither a name nor an address in its usual form.")
        if not encrypted and not policy.allowed_networks:
            return UrlRefusal("url_not_encrypted", "Events are sent over https only.")
        return None
    if policy.permits(address, encrypted=encrypted):
        return None
    if policy.reach(address) == "public":
        return UrlRefusal("url_not_encrypted", "Events are sent over https only.")
    return UrlRefusal("url_address_forbidden", "Events are not sent to this address.")


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address in _NAT64:
        return _is_public(IPv4Address(address.packed[-4:]))
    return address in _PUBLIC_V6 and not any(address in network for network in _NOT_PUBLIC_V6)
