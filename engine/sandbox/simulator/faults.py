"""How one simulated cluster misbehaves: rules that say what happens to which requests, and two switches.

In: rules from tests or the control endpoint, and each request. Out: delays, failures to answer with, and answers that
never come. What takes more than a request to break (offline, compaction, restore, another identity) is in `api_server`.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final, Literal

import msgspec

from engine.sandbox.simulator import errors
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.request_info import RequestInfo

MAX_LATENCY_S: Final = 600.0
MAX_RULES: Final = 100

Rate = float


class FaultRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to some requests. Of several rules that fit a request all apply, in order.

    Attributes:
        verbs: such as get, list, watch, create, update, patch, delete, deletecollection; empty: all.
        resources: plurals; empty: all, and paths that are no resource.
        namespaces: empty: all.
        latency: seconds added before the request is looked at.
        distribution: of the latency: always the same, or exponential with that mean.
        error_rate: share of requests that fail, 0 to 1.
        code: HTTP status of the failures; 429 and 5xx.
        retry_after: seconds in the Retry-After header of failures; 0: no such header.
        lose_rate: share of requests that are carried out, but whose answer is lost with the connection.
        hang: accept requests and do not answer, until the rule is gone; then go on as if nothing was. A half-open connection.

    """

    verbs: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    latency: float = 0.0
    distribution: Literal["fixed", "exponential"] = "fixed"
    error_rate: Rate = 0.0
    code: int = 503
    retry_after: int = 0
    lose_rate: Rate = 0.0
    hang: bool = False

    def __post_init__(self) -> None:
        for rate in (self.error_rate, self.lose_rate):
            if not 0.0 <= rate <= 1.0:
                raise ValueError(f"{rate} is no share between 0 and 1")
        if not 0.0 <= self.latency <= MAX_LATENCY_S:
            raise ValueError(f"a latency of {self.latency} s is not between 0 and {MAX_LATENCY_S:g}")
        if self.error_rate and self.code != 429 and not 500 <= self.code <= 599:
            raise ValueError(f"a fault answers 429 or 5xx, not {self.code}")

    def concerns(self, info: RequestInfo) -> bool:
        """Return whether the rule applies to a request."""
        return (
            (not self.verbs or info.verb in self.verbs)
            and (not self.resources or info.resource in self.resources)
            and (not self.namespaces or info.namespace in self.namespaces)
        )


class AnswerLost(Exception):
    """Raised to cut the connection instead of answering."""


class Faults:
    """The faults of one cluster; all methods belong to the thread that serves it.

    Args:
        seed: makes what happens repeatable, as far as the order of requests is; None: random.

    Attributes:
        clock_skew: seconds by which the cluster's clock is ahead of ours.

    """

    def __init__(self, *, seed: int | None = None) -> None:
        self.clock_skew = 0.0
        self.rules: tuple[FaultRule, ...] = ()
        self._random = random.Random(seed)  # noqa: S311 - faults, not secrets
        self._paused = False
        self._changed = asyncio.Event()

    @property
    def paused(self) -> bool:
        """Whether nothing is answered."""
        return self._paused

    @property
    def active(self) -> bool:
        """Whether requests have anything to fear."""
        return bool(self.rules) or self._paused

    def set_rules(self, rules: tuple[FaultRule, ...]) -> None:
        """Let these rules hold from now on, in place of those before.

        Raises:
            ValueError: when there are more than `MAX_RULES`.

        """
        if len(rules) > MAX_RULES:
            raise ValueError(f"{len(rules)} rules are more than {MAX_RULES}")
        self.rules = rules
        self._wake()

    def pause(self) -> None:
        """Answer nothing any more, as a stopped process does."""
        self._paused = True

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        self._wake()

    async def before(self, info: RequestInfo) -> None:
        """Do to a request what the rules want, before it is looked at.

        Raises:
            ApiError: the failure to answer.

        """
        await self.hold(info)
        for rule in self.rules:
            if not rule.concerns(info):
                continue
            if rule.latency:
                await asyncio.sleep(self._delay(rule))
            if rule.error_rate and self._random.random() < rule.error_rate:
                raise _failure(rule)

    async def after(self, info: RequestInfo) -> None:
        """Do to a request what the rules want when it is carried out and its answer ready.

        Raises:
            AnswerLost: when the answer does not arrive.

        """
        await self.hold(info)
        for rule in self.rules:
            if rule.lose_rate and rule.concerns(info) and self._random.random() < rule.lose_rate:
                raise AnswerLost

    async def hold(self, info: RequestInfo) -> None:
        """Wait for as long as a request or stream is to hang."""
        while self._paused or any(rule.hang and rule.concerns(info) for rule in self.rules):
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _delay(self, rule: FaultRule) -> float:
        if rule.distribution == "exponential":
            return min(self._random.expovariate(1 / rule.latency), MAX_LATENCY_S)
        return rule.latency


def _failure(rule: FaultRule) -> ApiError:
    details = {"retryAfterSeconds": rule.retry_after} if rule.retry_after else {}
    if rule.code == 429:
        return errors.too_many_requests("too many requests, please try again later", rule.retry_after)
    reasons = {500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}
    return ApiError(rule.code, reasons.get(rule.code, "InternalError"), "a fault of the sandbox", details)
