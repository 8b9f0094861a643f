"""Functions that Kubernetes adds: quantities, addresses, URLs, semantic versions, named formats.

In: values. Out: a value, or a `CelError`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

from engine.sandbox.simulator import quantities
from engine.sandbox.simulator.builtin.checks import dns_1035_problems
from engine.sandbox.simulator.cel.values import HIGHEST, LOWEST, NONE, CelError, Optional, Table, no_overload, of
from engine.sandbox.simulator.formats import has_format
from engine.sandbox.simulator.names import (
    dns_label_problems,
    dns_subdomain_problems,
    label_key_problems,
    label_value_problems,
)

_T = TypeVar("_T")

_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise no_overload()
    return value


def _succeeds(make: Callable[..., Any]) -> Callable[..., bool]:
    def check(value: Any, *rest: Any) -> bool:
        try:
            make(_text(value), *rest)
        except CelError as error:
            if str(error) == "no such overload":
                raise
            return False
        return True

    return check


# Quantities


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount of a resource."""

    value: Decimal

    type_name = "kubernetes.Quantity"


def _quantity(text: Any) -> Quantity:
    try:
        return Quantity(quantities.parse(_text(text)).value)
    except ValueError as error:
        raise CelError(str(error)) from None


def _amount(value: Any) -> Decimal:
    if isinstance(value, Quantity):
        return value.value
    if type(value) is int:
        return Decimal(value)
    raise no_overload()


def _is_whole(value: Any) -> bool:
    amount = _own(value, Quantity).value
    return amount == amount.to_integral_value() and LOWEST <= amount <= HIGHEST


def _whole(value: Any) -> int:
    if not _is_whole(value):
        raise CelError("cannot convert value to integer")
    return int(value.value)


def _own(value: Any, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise no_overload()
    return value


# Semantic versions


@dataclass(frozen=True, slots=True)
class Semver:
    """A semantic version; what stands after `+` does not count."""

    numbers: tuple[int, int, int]
    prerelease: tuple[str, ...]

    type_name = "kubernetes.Semver"

    def key(self) -> tuple[Any, ...]:
        """Return what orders versions."""
        parts = tuple((not one.isdigit(), int(one) if one.isdigit() else 0, one) for one in self.prerelease)
        return self.numbers, not self.prerelease, parts


def _semver(text: Any, normalize: Any = False) -> Semver:
    version = _text(text)
    if normalize:
        core, mark, rest = re.match(r"v?([0-9.]*)()(.*)", version, re.DOTALL).groups()  # type: ignore[union-attr]
        numbers = [str(int(one)) if one else one for one in core.split(".")]
        version = ".".join([*numbers, *["0"] * (3 - len(numbers))]) + mark + rest
    match = _SEMVER.fullmatch(version)
    if match is None:
        raise CelError(
            "No Major.Minor.Patch elements found" if version.count(".") < 2 else "Invalid character(s) found"
        )
    return Semver((int(match[1]), int(match[2]), int(match[3])), tuple(match[4].split(".")) if match[4] else ())


def _ordered(left: Any, right: Any) -> int:
    """Return -1, 0 or 1 for two quantities or two versions."""
    if isinstance(left, Semver):
        one, other = left.key(), _own(right, Semver).key()
        return (one > other) - (one < other)
    first, second = _own(left, Quantity).value, _own(right, Quantity).value
    return (first > second) - (first < second)


# Addresses


@dataclass(frozen=True, slots=True)
class Ip:
    """An address of the internet protocol."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address

    type_name = "net.IP"

    @property
    def text(self) -> str:
        """It, in its canonical form."""
        return str(self.address)


@dataclass(frozen=True, slots=True)
class Cidr:
    """An address with the length of its network's prefix."""

    interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface

    type_name = "net.CIDR"

    @property
    def text(self) -> str:
        """It, in its canonical form."""
        return str(self.interface)


def _ip(value: Any) -> Ip:
    if isinstance(value, Cidr):
        return Ip(value.interface.ip)
    text = _text(value)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        problem = f'parse error during conversion from string: ParseAddr("{text}"): unable to parse IP'
        raise CelError(f'IP Address "{text}" {problem}') from None
    if "%" in text:
        raise CelError(f'IP address "{text}" with zone value is not allowed')
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        raise CelError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return Ip(address)


def _cidr(value: Any) -> Cidr:
    text = _text(value)
    failed = "network address parse error during conversion from string: " * 2
    problem = CelError(f"{failed}netip.ParsePrefix(\"{text}\"): no '/'")
    if "/" not in text:
        raise problem
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise CelError(f'{failed}netip.ParsePrefix("{text}")') from None
    if isinstance(interface, ipaddress.IPv6Interface) and interface.ip.ipv4_mapped:
        raise CelError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return Cidr(interface)


def _contains_ip(whole: Any, part: Any) -> bool:
    address = part if isinstance(part, Ip) else _ip(part)
    return bool(address.address in _own(whole, Cidr).interface.network)


def _contains_cidr(whole: Any, part: Any) -> bool:
    inner, outer = (part if isinstance(part, Cidr) else _cidr(part)).interface, _own(whole, Cidr).interface
    same = inner.version == outer.version
    return bool(same and outer.network.prefixlen <= inner.network.prefixlen and inner.ip in outer.network)


def _masked(value: Any) -> Cidr:
    network = _own(value, Cidr).interface.network
    return Cidr(ipaddress.ip_interface(f"{network.network_address}/{network.prefixlen}"))


def _of_address(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: check(_own(value, Ip).address)


def _is_local_multicast(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address.packed[:3] == b"\xe0\x00\x00"
    return address.packed[0] == 0xFF and address.packed[1] % 16 == 2


def _is_global(address: Any) -> bool:
    broadcast = address.version == 4 and address.packed == b"\xff" * 4
    special = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    return not broadcast and not special


# URLs


@dataclass(frozen=True, slots=True)
class Url:
    """A URL, taken apart."""

    parts: SplitResult

    type_name = "kubernetes.URL"


def _url(value: Any) -> Url:
    text = _text(value)
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise CelError(f'URL parse error during conversion from string: parse "{text}": {error}') from None
    if not (parts.scheme or text.startswith("/")):
        raise CelError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return Url(parts)


def _host(url: SplitResult) -> str:
    return url.netloc.rpartition("@")[2]


def _of_url(get: Callable[[SplitResult], Any]) -> Callable[[Any], Any]:
    return lambda value: get(_own(value, Url).parts)


# Formats


@dataclass(frozen=True, slots=True)
class Format:
    """A named rule for texts."""

    name: str
    problems: Callable[[str], Iterable[str]]

    type_name = "kubernetes.NamedFormat"


def _prefix(problems: Callable[[str], Iterable[str]]) -> Callable[[str], Iterable[str]]:
    return lambda text: problems(f"{text.removesuffix('-')}a" if text.endswith("-") else text)


def _named_format(name: str) -> Callable[[str], Iterable[str]]:
    return lambda text: () if has_format(name, text) else (f"must be a valid {name}",)


_FORMATS: dict[str, Callable[[str], Iterable[str]]] = {
    "dns1123Label": dns_label_problems,
    "dns1123Subdomain": dns_subdomain_problems,
    "dns1035Label": dns_1035_problems,
    "qualifiedName": label_key_problems,
    "dns1123LabelPrefix": _prefix(dns_label_problems),
    "dns1123SubdomainPrefix": _prefix(dns_subdomain_problems),
    "dns1035LabelPrefix": _prefix(dns_1035_problems),
    "labelValue": label_value_problems,
    **{name: _named_format(name) for name in ("uri", "uuid", "byte", "date", "datetime")},
}


def _validated(rule: Any, text: Any) -> Optional:
    problems = list(_own(rule, Format).problems(_text(text)))
    return of(problems) if problems else NONE


def _find_format(name: Any) -> Optional:
    rule = _FORMATS.get(_text(name))
    return of(Format(name, rule)) if rule else NONE


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


GLOBAL: Table = {
    "quantity": (_quantity, 1, 1),
    "isQuantity": (_succeeds(_quantity), 1, 1),
    "semver": (_semver, 1, 2),
    "isSemver": (_succeeds(_semver), 1, 2),
    "ip": (_ip, 1, 1),
    "isIP": (_succeeds(_ip), 1, 1),
    "ip.isCanonical": (lambda text: _ip(text).text == text, 1, 1),
    "cidr": (_cidr, 1, 1),
    "isCIDR": (_succeeds(_cidr), 1, 1),
    "url": (_url, 1, 1),
    "isURL": (_succeeds(_url), 1, 1),
    "format.named": (_find_format, 1, 1),
    **{f"format.{name}": (_constant(Format(name, rule)), 0, 0) for name, rule in _FORMATS.items()},
}

METHODS: Table = {
    "isInteger": (_is_whole, 1, 1),
    "asInteger": (_whole, 1, 1),
    "asApproximateFloat": (lambda value: float(_own(value, Quantity).value), 1, 1),
    "add": (lambda left, right: Quantity(_own(left, Quantity).value + _amount(right)), 2, 2),
    "sub": (lambda left, right: Quantity(_own(left, Quantity).value - _amount(right)), 2, 2),
    "isGreaterThan": (lambda left, right: _ordered(left, right) > 0, 2, 2),
    "isLessThan": (lambda left, right: _ordered(left, right) < 0, 2, 2),
    "compareTo": (_ordered, 2, 2),
    "major": (lambda value: _own(value, Semver).numbers[0], 1, 1),
    "minor": (lambda value: _own(value, Semver).numbers[1], 1, 1),
    "patch": (lambda value: _own(value, Semver).numbers[2], 1, 1),
    "family": (_of_address(lambda address: address.version), 1, 1),
    "isUnspecified": (_of_address(lambda address: address.is_unspecified), 1, 1),
    "isLoopback": (_of_address(lambda address: address.is_loopback), 1, 1),
    "isLinkLocalMulticast": (_of_address(_is_local_multicast), 1, 1),
    "isLinkLocalUnicast": (_of_address(lambda address: address.is_link_local), 1, 1),
    "isGlobalUnicast": (_of_address(_is_global), 1, 1),
    "containsIP": (_contains_ip, 2, 2),
    "containsCIDR": (_contains_cidr, 2, 2),
    "ip": (_ip, 1, 1),
    "masked": (_masked, 1, 1),
    "prefixLength": (lambda value: _own(value, Cidr).interface.network.prefixlen, 1, 1),
    "getScheme": (_of_url(lambda url: url.scheme), 1, 1),
    "getHost": (_of_url(_host), 1, 1),
    "getHostname": (
        _of_url(
            lambda url: _host(url).rpartition(":")[0].strip("[]") if url.port is not None else _host(url).strip("[]")
        ),
        1,
        1,
    ),
    "getPort": (_of_url(lambda url: "" if url.port is None else str(url.port)), 1, 1),
    "getEscapedPath": (_of_url(lambda url: quote(url.path, safe="/%:@!$&'()*+,;=~")), 1, 1),
    "getQuery": (_of_url(lambda url: parse_qs(url.query, keep_blank_values=True)), 1, 1),
    "validate": (_validated, 2, 2),
}
