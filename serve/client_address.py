"""The address a request came from, as far as it can be believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

# The usual share of one customer in IPv6: whoever has one address there has them all.
IPV6_PREFIX = 64


def client_address(peer: str | None, forwarded: Iterable[str], trusted_proxies: int) -> str:
    """The client's address, given the socket's, the X-Forwarded-For headers in order, and how many proxies are ours.

    Each proxy of ours appends whom it was called by, so only the last `trusted_proxies` entries are its word; what
    stands further left was made up by the caller, if it likes. With fewer entries than proxies the socket's counts.
    """
    socket = peer or "unknown"
    if not trusted_proxies:
        return socket
    hops = [part.strip() for header in forwarded for part in header.split(",") if part.strip()]
    if len(hops) < trusted_proxies:
        return socket
    return _plain(hops[-trusted_proxies]) or socket


def limited_address(address: str) -> str:
    """What of an address counts as one caller: all of IPv4, the network of IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False).network_address)
    return str(parsed)


def _plain(hop: str) -> str | None:
    """The address of an entry without its port; None when it is none."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ipaddress.ip_address(hop))
    except ValueError:
        return None
