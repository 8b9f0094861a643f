"""What the server warns of in addresses that it takes: forms that programs may read differently, or not compare as equal.

In: a text and the path of its field. Out: texts for Warning headers, none where the form is usual. The rules are those
of `GetWarningsForIP` and `GetWarningsForCIDR` in `k8s.io/apimachinery/pkg/util/validation`.
"""

from __future__ import annotations

from engine.sandbox.simulator.builtin.addresses import Address, block, is_ambiguous, parsed, plain
from engine.sandbox.simulator.go_text import quoted


def address_warnings(value: str, path: str) -> list[str]:
    """Return what is unwise in an address; one that is none is not warned of."""
    address = parsed(value)
    if address is None:
        return []
    return _warnings(value, path, str(plain(address)), "IP address", "IPv6 address", address)


def block_warnings(value: str, path: str) -> list[str]:
    """Return what is unwise in a block of addresses."""
    found, address = block(value), parsed(value.partition("/")[0])
    if found is None or address is None:
        return []
    return _warnings(value, path, str(found), "CIDR value", "IPv6 CIDR value", address)


def _warnings(value: str, path: str, better: str, what: str, what6: str, address: Address) -> list[str]:
    if is_ambiguous(value):
        return [f"{path}: non-standard {what} {quoted(value)} is invalid: use {quoted(better)}"]
    if address.version == 6 and value != better:
        return [f"{path}: {what6} {quoted(value)} should be in RFC 5952 canonical format ({quoted(better)})"]
    return []
