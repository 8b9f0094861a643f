"""Writes of one object after another by several managers: applies, patches, replacements, of the object and of its status.

In: a seed. Out: a list of requests, made up so that managers meet in the same fields. They are put to a real server once;
its answers are kept beside them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from tests.sandbox.simulator.observed.good_objects import Json

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"

CONFIG_MAPS = (60, 1)
DEPLOYMENTS = (40, 2)
"""Numbers of writes, and seeds, of the sessions whose answers are kept."""

_MANAGERS = ("m1", "m2", "m3")


@dataclass(frozen=True)
class Request:
    """One write.

    Attributes:
        media_type: of a patch.
        body: of it.
        manager: who writes.
        force: whether an apply takes what others own.
        subresource: empty: the object itself.

    """

    media_type: str
    body: Json
    manager: str
    force: bool = False
    subresource: str = ""


def requests(kind: str, count: int, seed: int) -> list[Request]:
    """Return so many writes of a ConfigMap or a Deployment called `s`; the first one creates it."""
    dice = random.Random(seed)
    return [_request(kind, dice, first=number == 0) for number in range(count)]


def _request(kind: str, dice: random.Random, *, first: bool) -> Request:
    manager, force = dice.choice(_MANAGERS), first or dice.random() < 0.5
    body = _config_map(dice) if kind == "ConfigMap" else _deployment(dice)
    if not first and kind == "Deployment" and dice.random() < 0.15:
        status = {name: body[name] for name in ("apiVersion", "kind", "metadata")}
        status["status"] = {"replicas": dice.randint(1, 3), "readyReplicas": dice.randint(0, 1)}
        return Request(APPLY, status, manager, force, "status")
    if first or dice.random() < 0.6:
        return Request(APPLY, body, manager, force)
    del body["apiVersion"], body["kind"]
    body["metadata"].pop("name")
    return Request(dice.choice((MERGE, STRATEGIC)), _nulled(_some(body, dice, 0.6), dice), manager)


def _some(fields: Json, dice: random.Random, share: float = 0.5) -> Json:
    return {name: value for name, value in fields.items() if dice.random() < share}


def _nulled(value: Any, dice: random.Random) -> Any:
    if not isinstance(value, dict):
        return value
    keeps = {"metadata", "spec", "template", "containers", "selector"}
    return {
        name: None if name not in keeps and dice.random() < 0.15 else _nulled(one, dice) for name, one in value.items()
    }


def _metadata(dice: random.Random) -> Json:
    return {
        "name": "s",
        **_some(
            {
                "labels": _some({"a": dice.choice("12"), "b": "2"}, dice),
                "annotations": _some({"x": dice.choice("12"), "y": "2"}, dice),
                "finalizers": dice.sample(["a.b/c", "d.e/f"], dice.randint(0, 2)),
            },
            dice,
        ),
    }


def _config_map(dice: random.Random) -> Json:
    content = {
        "data": _some({"a": dice.choice("12"), "b": "", "c": "3"}, dice),
        "binaryData": _some({"z": "YQ=="}, dice),
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(dice), **_some(content, dice, 0.8)}


def _container(name: str, dice: random.Random) -> Json:
    ports = [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}, {"containerPort": 81, "name": "x"}]
    variables = [{"name": "A", "value": dice.choice("12")}, {"name": "B", "value": "2"}]
    rest = {
        "ports": dice.sample(ports, dice.randint(0, 3)),
        "env": dice.sample(variables, dice.randint(0, 2)),
        "args": [dice.choice("ab")],
        "resources": {"limits": {"cpu": dice.choice(["1", "1000m", "2"])}},
    }
    return {"name": name, "image": dice.choice(["i:1", "i:2"]), **_some(rest, dice, 0.4)}


def _deployment(dice: random.Random) -> Json:
    containers = [_container(name, dice) for name in dice.sample(["c1", "c2", "c3"], dice.randint(1, 2))]
    pod = {
        "containers": containers,
        **_some(
            {
                "nodeSelector": _some({"a": dice.choice("12"), "b": "2"}, dice),
                "tolerations": [{"key": dice.choice("ab"), "operator": "Exists"}],
                "imagePullSecrets": [{"name": dice.choice("ab")}],
            },
            dice,
            0.4,
        ),
    }
    rest = {"replicas": dice.randint(0, 2), "minReadySeconds": 3, "strategy": {"type": "Recreate"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template, **_some(rest, dice, 0.4)}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(dice), "spec": spec}
