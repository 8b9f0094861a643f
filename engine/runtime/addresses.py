"""Where a kubeconfig may lead (SEC-22): which addresses are connected to, judged one by one as they are connected to.

A kubeconfig that an operator wrote may name anything but link-local addresses, where clouds serve their credentials. One that
came out of a cluster was written by whoever may write there: it may not lead to this machine or to a metadata service either,
unless the configuration allows the network. Names are judged by the address that each connection is made to, so a name that
resolves to something else the next time (rebinding) gains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

Network = IPv4Network | IPv6Network
METADATA = tuple(map(ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192")))
"""Of AWS, Azure, Google and others; AWS over IPv6; Alibaba; Oracle. The first is link-local as well."""
_NAT64 = ip_network("64:ff9b::/96")


class Addresses(msgspec.Struct, frozen=True):
    """A rule."""

    declared: bool = True
    """Whether an operator wrote down where to connect to; False: it was read from a cluster."""
    allowed: tuple[Network, ...] = ()
    """Networks that may be connected to whatever the rule says."""

    def refusal(self, address: str) -> str:
        """Return what is wrong with an IP address, `a link-local address` for example; empty if it may be connected to."""
        try:
            ip = _meant(ip_address(address.partition("%")[0]))
        except ValueError:
            return ""
        if any(ip.version == network.version and ip in network for network in self.allowed):
            return ""
        if ip.is_link_local:
            return "a link-local address"
        if ip in METADATA:
            return "a cloud's metadata address"
        if self.declared:
            return ""
        if ip.is_loopback or ip.is_unspecified:
            return "an address of this machine"
        return "a multicast address" if ip.is_multicast else ""


DECLARED = Addresses()


def read_from_clusters(allowed: Iterable[str]) -> Addresses:
    """Return the rule for kubeconfigs that were read from a cluster.

    Raises:
        ValueError: when one of `allowed` is no network.

    """
    return Addresses(declared=False, allowed=tuple(map(ip_network, allowed)))


def _meant(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does: mapped, 6to4, NAT64."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
