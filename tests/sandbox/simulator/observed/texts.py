"""Texts that stand for times, addresses, blocks of addresses and host names, in the fields that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.sandbox.simulator.observed.answers import with_warnings
from tests.sandbox.simulator.observed.good_objects import Json

NAMESPACE = "observed"

_DAY, _TIME = "2026-01-02", "2026-01-02T03:04:05"

TIMES: tuple[Any, ...] = (
    *(f"{_TIME}{end}" for end in ("Z", ".5Z", ".123456Z", ".1234567Z", ",123456Z", ".Z", ".000000Z")),
    *(f"{_TIME}{end}" for end in ("", "z", "ZZ", " Z", "Z ")),
    *(f"{_TIME}{zone}" for zone in ("+01:00", "-23:59", "+24:00", "+25:00", "+01:60", "+01:61", "+0100", ".123456+02:00")),
    *(f"2026-{date}T03:04:05Z" for date in ("13-02", "00-02", "02-30", "02-29", "01-00", "01-32", "1-02", "01-2")),
    *(f"{_DAY}T{time}Z" for time in ("24:00:00", "3:04:05", "03:60:05", "03:04:60", "03:04:5", "03:4:05", "03:04")),
    *(_DAY, f"{_DAY} 03:04:05Z", f"{_DAY}t03:04:05Z", "26-01-02T03:04:05Z", "12026-01-02T03:04:05Z", f" {_TIME}Z"),
    *("2028-02-29T03:04:05Z", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00"),
    *("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00", "1969-12-31T23:59:59Z", "", "now", 1, True, None, {}, []),
)  # fmt: skip
ADDRESSES = (
    *("10.1.2.3", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.04", "0x7f.1.1.1", "1.2.3.-4", "10.1.2.3/24"),
    *("0.0.0.0", "255.255.255.255", "127.0.0.1", "127.1.2.3", "169.254.1.1", "224.0.0.1", "224.1.1.1", "239.1.1.1"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "ff01::1", "ff02::1", "ff05::1", "::ffff:1.2.3.4", "1::2::3"),
    *("2001:db8::1", "2001:DB8::1", "2001:0db8::1", "2001:db8:0:0:0:0:0:1", "2001:db8::1.2.3.4"),
    *("x", "", " 10.1.2.3", "10.1.2.3 ", "1.2.3.4:80"),
)
BLOCKS = (
    *(
        "10.0.0.0/8",
        "10.1.2.3/8",
        "10.0.0.0/0",
        "0.0.0.0/0",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/08",
        "010.0.0.0/8",
    ),
    *("10.0.0.0", "10.0.0.0/", "10.0.0/8", "10.0.0.0/8 ", "x", "", "::/0", "2001:db8::/32", "2001:DB8::/32"),
    *("2001:db8::1/64", "2001:db8::/129", "::ffff:10.0.0.0/104"),
)
HOSTS = (
    *("a.example.com", "A.example.com", "*.example.com", "*", "a.*.example.com", "*a.example.com", "example", "*.1"),
    *("a..b", "-a.b", "a-.b", "a_b.c", "a.b.", "a b", "", "localhost", "1", "1.a", "a.1", "**.a", "*.", "xn--a", "é.a"),
    *("1.2.3.4", "::1", f"{'x' * 63}.a", f"{'x' * 64}.a", f"{'a.' * 126}a", f"{'a.' * 127}a"),
)

_Place = tuple[Callable[[Any], Json], tuple[str, ...]]
"""An object with a text in it, and the path at which it is read again; empty: it is not."""


def _object(api_version: str, kind: str, **rest: Any) -> Json:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, **rest}


def _pod(**spec: Any) -> Json:
    return _object("v1", "Pod", spec={"containers": [{"name": "main", "image": "nginx"}], **spec})


def _service(**spec: Any) -> Json:
    return _object("v1", "Service", spec={"ports": [{"port": 80}], **spec})


def _slice(address_type: str, address: Any, **endpoint: Any) -> Json:
    endpoints = [{"addresses": [address], **endpoint}]
    return _object("discovery.k8s.io/v1", "EndpointSlice", addressType=address_type, endpoints=endpoints)


def _event(**rest: Any) -> Json:
    return _object("v1", "Event", involvedObject={"namespace": NAMESPACE}, **rest)


def _managed(time: Any) -> Json:
    entry = {"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "managedFields": [{**entry, "time": time}]},
    }


def _created(time: Any) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "creationTimestamp": time}}


def _policy(**block: Any) -> Json:
    spec = {"podSelector": {}, "ingress": [{"from": [{"ipBlock": block}]}]}
    return _object("networking.k8s.io/v1", "NetworkPolicy", spec=spec)


def _node(block: Any) -> Json:
    return _object("v1", "Node", spec={"podCIDR": block, "podCIDRs": [block]})


def _ingress(**spec: Any) -> Json:
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    return _object("networking.k8s.io/v1", "Ingress", spec={"defaultBackend": backend, **spec})


def _endpoints(address: Any) -> Json:
    subset = {"addresses": [{"ip": address}], "ports": [{"port": 80}]}
    return _object("v1", "Endpoints", subsets=[subset])


TABLE: dict[str, tuple[Iterable[Any], _Place]] = {
    "Lease renewTime": (
        TIMES,
        (lambda text: _object("coordination.k8s.io/v1", "Lease", spec={"renewTime": text}), ("spec", "renewTime")),
    ),
    "Event firstTimestamp": (TIMES, (lambda text: _event(firstTimestamp=text), ("firstTimestamp",))),
    "Event eventTime": (TIMES, (lambda text: _event(eventTime=text), ("eventTime",))),
    "creationTimestamp": (TIMES, (_created, ())),
    "managedFields time": (TIMES, (_managed, ())),
    "Service externalIPs": (ADDRESSES, (lambda text: _service(externalIPs=[text]), ("spec", "externalIPs"))),
    "Service clusterIP": (ADDRESSES, (lambda text: _service(clusterIP=text), ())),
    "Service loadBalancerIP": (
        ADDRESSES,
        (lambda text: _service(type="LoadBalancer", loadBalancerIP=text), ("spec", "loadBalancerIP")),
    ),
    "Pod hostAliases": (ADDRESSES, (lambda text: _pod(hostAliases=[{"ip": text, "hostnames": ["h"]}]), ())),
    "Pod nameservers": (ADDRESSES, (lambda text: _pod(dnsConfig={"nameservers": [text]}), ())),
    "Endpoints addresses": (ADDRESSES, (_endpoints, ())),
    "EndpointSlice IPv4": (ADDRESSES, (lambda text: _slice("IPv4", text), ())),
    "EndpointSlice IPv6": (ADDRESSES, (lambda text: _slice("IPv6", text), ())),
    "NetworkPolicy cidr": (BLOCKS, (lambda text: _policy(cidr=text), ())),
    "NetworkPolicy except": (BLOCKS, (lambda text: _policy(cidr="0.0.0.0/0", **{"except": [text]}), ())),
    "Service loadBalancerSourceRanges": (
        BLOCKS,
        (lambda text: _service(type="LoadBalancer", loadBalancerSourceRanges=[text]), ()),
    ),
    "Node podCIDRs": (BLOCKS, (_node, ())),
    "Ingress host": (HOSTS, (lambda text: _ingress(rules=[{"host": text}]), ())),
    "Ingress tls": (HOSTS, (lambda text: _ingress(tls=[{"hosts": [text]}]), ())),
    "Service externalName": (HOSTS, (lambda text: _service(type="ExternalName", externalName=text), ())),
    "EndpointSlice FQDN": (HOSTS, (lambda text: _slice("FQDN", text), ())),
    "EndpointSlice hostname": (HOSTS, (lambda text: _slice("IPv4", "10.1.2.3", hostname=text), ())),
    "Pod hostname": (HOSTS, (lambda text: _pod(hostname=text), ())),
    "Pod searches": (HOSTS, (lambda text: _pod(dnsConfig={"searches": [text]}), ())),
    "Pod hostAliases hostnames": (
        HOSTS,
        (lambda text: _pod(hostAliases=[{"ip": "1.2.3.4", "hostnames": [text]}]), ()),
    ),
}
"""By field: the texts that are tried in it, how it is sent, and where the answer shows what became of it."""


def cases(field: str) -> Iterator[tuple[str, Json]]:
    """Return the name and the object of each case of a field."""
    texts, (make, _) = TABLE[field]
    for text in texts:
        yield f"{field} {text!r}", make(text)


def said(field: str, code: int, body: Json, warnings: Iterable[str]) -> Json:
    """Return what is kept of an answer: what was made of the text, or the refusal in its words."""
    if code >= 400:
        return with_warnings({"code": code, "message": body["message"]}, warnings)
    _, (_, path) = TABLE[field]
    value: Any = body
    for name in path:
        value = value.get(name)
    return with_warnings({"code": code, **({"value": value} if path else {})}, warnings)
