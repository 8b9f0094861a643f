"""Addresses of the internet protocol, as the validation of built-in types takes them.

In: a text and the path of its field. Out: causes, none if it is right. The rules are those of
`k8s.io/apimachinery/pkg/util/validation`, with the strictness that Kubernetes 1.36 has.
"""

from __future__ import annotations

import ipaddress
import re

from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import invalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NO_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_NO_BLOCK = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_LEADING_ZEROS = re.compile(r"(?<![0-9a-fA-F:])0+(?=\d)", re.ASCII)
_LOCAL_MULTICAST = ipaddress.ip_network("224.0.0.0/24")


def parsed(text: str) -> Address | None:
    """Return an address, whose numbers may have leading zeros; None: it is none."""
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(_LEADING_ZEROS.sub("", text) if "." in text else text)
    except ValueError:
        return None


def is_version(text: str, version: int) -> bool:
    """Return whether a text is an address of IPv4 or IPv6."""
    address = parsed(text)
    return address is not None and address.version == version


def ip_address(value: str, path: str) -> list[Cause]:
    """Check an address as older fields take it: in any form, but in no ambiguous one."""
    address = parsed(value)
    if address is None:
        return [invalid(path, value, _NO_ADDRESS)]
    if _has_leading_zeros(value):
        return [invalid(path, value, "must not have leading 0s")]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return [invalid(path, value, "must not be an IPv4-mapped IPv6 address")]
    return []


def _has_leading_zeros(text: str) -> bool:
    return "." in text and _LEADING_ZEROS.search(text) is not None


def plain(address: Address) -> Address:
    """Return the address of IPv4 that one of IPv6 stands for, or the same."""
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def is_ambiguous(value: str) -> bool:
    """Return whether programs read an address, or that of a block, differently."""
    text = value.partition("/")[0]
    address = parsed(text)
    return address is not None and (_has_leading_zeros(text) or plain(address) is not address)


def canonical_ip(value: str, path: str) -> list[Cause]:
    """Check an address as newer fields take it: in its one canonical form."""
    causes = ip_address(value, path)
    if not causes and str(parsed(value)) != value:
        causes.append(invalid(path, value, f'must be in canonical form ("{parsed(value)}")'))
    return causes


def endpoint_ip(value: str, path: str) -> list[Cause]:
    """Check that something outside of the host can be at an address."""
    address = parsed(value)
    if address is None:
        return [invalid(path, value, "must be a valid IP address")]
    causes = []
    if address.is_unspecified:
        causes.append(invalid(path, value, f"may not be unspecified ({value})"))
    if address.is_loopback:
        causes.append(invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if address.is_link_local:
        causes.append(invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    local = (
        address in _LOCAL_MULTICAST
        if address.version == 4
        else address.packed[0] == 255 and address.packed[1] % 16 == 2
    )
    if local:
        why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        causes.append(invalid(path, value, why))
    return causes


def cidr(value: str, path: str) -> list[Cause]:
    """Check a block of addresses as older fields take it."""
    text, slash, length = value.partition("/")
    address = parsed(text)
    if address is None or not slash or not length.isdecimal() or int(length) > address.max_prefixlen:
        return [invalid(path, value, _NO_BLOCK)]
    if _has_leading_zeros(text) or (length.startswith("0") and length != "0"):
        return [invalid(path, value, "must not have leading 0s in IP or prefix length")]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return [invalid(path, value, "must not have an IPv4-mapped IPv6 address")]
    if address != ipaddress.ip_network(value, strict=False).network_address:
        return [invalid(path, value, "must not have bits set beyond the prefix length")]
    return []


def block(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return a block of addresses; None: it is none."""
    text, slash, length = value.partition("/")
    address = parsed(text)
    if address is None or not slash or not length.isdecimal() or int(length) > address.max_prefixlen:
        return None
    return ipaddress.ip_network((address, int(length)), strict=False)
