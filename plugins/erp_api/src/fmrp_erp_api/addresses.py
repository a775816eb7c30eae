"""Which addresses are never spoken to. Private networks are: that is where a plant's ERP lives."""

import ipaddress

_CLOUD_METADATA = {ipaddress.ip_address(each) for each in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")}


def is_local(host: str) -> bool:
    """Whether the host's name says that it is this machine."""
    address = _address(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


def is_forbidden(host: str) -> bool:
    """Whether the host is an address at which a cloud gives out a machine's credentials, or none of a single host."""
    address = _address(host)
    if address is None:
        return False
    return address in _CLOUD_METADATA or address.is_link_local or address.is_multicast or address.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return address
