"""Kubernetes quantities such as `500m`, `1.5Gi` or `1e3`: parsed, compared, and written in canonical form.

The rules are those of `k8s.io/apimachinery/pkg/api/resource`: the suffix family is kept, the number becomes an integer
without trailing zeros that the next suffix could take, and what is smaller than a nano is rounded up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal, localcontext
from functools import lru_cache
from typing import Literal

from engine.sandbox.simulator.go_text import json_text

FORMAT_ERROR = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX_ERROR = "unable to parse quantity's suffix"

Family = Literal["DecimalSI", "BinarySI", "DecimalExponent"]

_TEXT = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]+)", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {exponent: suffix for suffix, exponent in _BINARY.items()} | {0: ""}
_SMALLEST = Decimal("1e-9")
_LARGEST = Decimal(2**63 - 1)
_PRECISION = 400
"""Digits to calculate with: more than any quantity that passes the server's size limit of a name needs."""

_QUICK_DIGITS = 18
_QUICK_BINARY_DIGITS = 15


class InvalidQuantity(ValueError):
    """Raised when a text is no quantity; says so in the server's words."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with the suffix family that it was written in."""

    value: Decimal
    family: Family

    def __str__(self) -> str:
        if self.value == 0:
            return "0"
        return self._binary() if self.family == "BinarySI" else self._decimal()

    def _binary(self) -> str:
        if abs(self.value) < 1024 or self.value != self.value.to_integral_value():
            return str(Quantity(self.value, "DecimalSI"))
        number, exponent = int(self.value), 0
        while number % 1024 == 0 and exponent < 60:
            number, exponent = number // 1024, exponent + 10
        return f"{number}{_BINARY_SUFFIX[exponent]}"

    def _decimal(self) -> str:
        sign, digits, exponent = self.value.normalize().as_tuple()
        power = int(exponent)
        number = int("".join(map(str, digits)))
        if shift := power % 3:
            number, power = number * 10**shift, power - shift
        while power > 18 and self.family == "DecimalSI":
            number, power = number * 1000, power - 3
        text = f"{'-' if sign else ''}{number}"
        if self.family == "DecimalExponent":
            return f"{text}e{power}" if power else text
        return f"{text}{_DECIMAL_SUFFIX[power]}"


@lru_cache(maxsize=4096)
def parse(text: str) -> Quantity:
    """Return the quantity.

    Raises:
        InvalidQuantity: when it is none.

    """
    match = _TEXT.fullmatch(text)
    if not text or match is None:
        raise InvalidQuantity(FORMAT_ERROR)
    sign, whole, fraction, suffix = match.groups()
    exponent, family = _suffix(suffix)
    with localcontext() as context:
        context.prec = _PRECISION
        value = Decimal(f"{whole or '0'}.{fraction or '0'}")
        value *= Decimal(2) ** exponent if family == "BinarySI" else Decimal(10) ** exponent
        if value:
            value = max(value.quantize(_SMALLEST, rounding=ROUND_UP), _SMALLEST)
        if family == "BinarySI":
            value = min(value, _LARGEST)
            family = "DecimalSI" if 0 < value < 1 else family
        return Quantity(-value if sign == "-" else value, family)


def _suffix(suffix: str) -> tuple[int, Family]:
    if suffix in _DECIMAL:
        return _DECIMAL[suffix], "DecimalSI"
    if suffix in _BINARY:
        return _BINARY[suffix], "BinarySI"
    if match := _EXPONENT.fullmatch(suffix):
        return int(match[1]), "DecimalExponent"
    raise InvalidQuantity(SUFFIX_ERROR)


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """Return a quantity as the server stores it.

    Raises:
        InvalidQuantity: when it is none.

    """
    quantity = parse(text)
    return text if _is_taken_as_it_is(text) else str(quantity)


def _is_taken_as_it_is(text: str) -> bool:
    """Return whether the server keeps the text: it does so where its quick check finds nothing to shorten."""
    match = _TEXT.fullmatch(text)
    if match is None or text == "0":
        return True
    whole, fraction = match[2].lstrip("0") or "0", match[3] or ""
    exponent, family = _suffix(match[4])
    if family == "BinarySI":
        short = len(whole) + exponent * 3 // 10 < _QUICK_BINARY_DIGITS
        return not fraction and short and int(whole) % 8 != 0
    digits, scale = whole + fraction, exponent - len(fraction)
    quick = len(digits) <= _QUICK_DIGITS and scale >= _DECIMAL["n"]
    return quick and scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0"


def canonical_json(value: object) -> str:
    """Return a JSON value as the quantity that the server makes of it; numbers are taken as their text.

    Raises:
        InvalidQuantity: when it is none.

    """
    return canonical(value.strip() if isinstance(value, str) else json_text(value))
