"""Requests that ask about users instead of objects: tokens for ServiceAccounts, token reviews, access reviews.

In: a create of one of the review types, or of a ServiceAccount's token. Out: the review with its status. Nothing is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from aiohttp import web

from engine.sandbox.control_plane import SERVICE_ACCOUNT_ISSUER
from engine.sandbox.simulator import errors
from engine.sandbox.simulator.access import Access, Attributes
from engine.sandbox.simulator.cluster import SimulatedCluster
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.exchange import Exchange
from engine.sandbox.simulator.go_text import quoted
from engine.sandbox.simulator.identity import Authenticator
from engine.sandbox.simulator.options import User
from engine.sandbox.simulator.request_bodies import read_object
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.store import Json, object_key

AUTHENTICATION: Final = "authentication.k8s.io"
AUTHORIZATION: Final = "authorization.k8s.io"
_SHORTEST_SECONDS: Final = 600
_LONGEST_SECONDS: Final = 2**32
_DEFAULT_SECONDS: Final = 3600
_BOUND_KINDS: Final = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


class _Kind(NamedTuple):
    group: str
    kind: str


class Reviews:
    """Answers these requests for one cluster.

    Args:
        cluster: holds ServiceAccounts.
        access: says who may do what.
        authenticator: issues and reads tokens.

    """

    def __init__(self, cluster: SimulatedCluster, access: Access, authenticator: Authenticator) -> None:
        self._cluster = cluster
        self._access = access
        self._authenticator = authenticator
        self._answers: dict[tuple[str, str], Callable[[User, str, Json], Json]] = {
            (AUTHENTICATION, "tokenreviews"): self._token_review,
            (AUTHENTICATION, "selfsubjectreviews"): self._self_subject_review,
            (AUTHORIZATION, "subjectaccessreviews"): self._access_review,
            (AUTHORIZATION, "localsubjectaccessreviews"): self._access_review,
            (AUTHORIZATION, "selfsubjectaccessreviews"): self._self_access_review,
            (AUTHORIZATION, "selfsubjectrulesreviews"): self._rules_review,
        }

    def concerns(self, rtype: ResourceType, subresource: str) -> bool:
        """Return whether a request is one of these, and not about an object."""
        return rtype.key in self._answers or (rtype.key == ("", "serviceaccounts") and subresource == "token")

    async def answer(self, exchange: Exchange, rtype: ResourceType) -> web.Response:
        """Answer a request.

        Raises:
            ApiError: when it is refused.

        """
        kind = "TokenRequest" if rtype.resource == "serviceaccounts" else rtype.kind
        body = (await read_object(exchange, kind)).value
        if kind == "TokenRequest":
            answer = self._token_request(exchange, body)
        else:
            answer = self._answers[rtype.key](exchange.user, exchange.info.namespace, body)
            answer = {"kind": kind, "apiVersion": rtype.group_version, **answer}
        return exchange.respond_json(answer, code=201)

    def _token_request(self, exchange: Exchange, body: Json) -> Json:
        info = exchange.info
        account = self._cluster.store.get(("", "serviceaccounts"), object_key(info.namespace, info.name))
        if account is None:
            raise errors.not_found(_Resource("", "serviceaccounts"), info.name)
        spec = body.get("spec") or {}
        name = (body.get("metadata") or {}).get("name") or info.name
        if name != info.name:
            message = f"Invalid value: {quoted(name)}: must match the service account name if specified"
            raise errors.invalid(
                _Kind(AUTHENTICATION, "TokenRequest"), info.name, [Cause("FieldValueInvalid", message, "metadata.name")]
            )
        seconds = spec.get("expirationSeconds") or _DEFAULT_SECONDS
        _check_lifetime(seconds)
        audiences = spec.get("audiences") or [SERVICE_ACCOUNT_ISSUER]
        uid = account.object["metadata"]["uid"]
        bound = self._bound(info.namespace, spec.get("boundObjectRef"))
        token, expires = self._authenticator.issue(
            info.namespace, info.name, uid, seconds=seconds, audiences=audiences, bound=bound
        )
        return {
            "kind": "TokenRequest",
            "apiVersion": f"{AUTHENTICATION}/v1",
            "metadata": {
                "name": info.name,
                "namespace": info.namespace,
                "uid": uid,
                "creationTimestamp": _timestamp(expires - seconds),
            },
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": spec.get("boundObjectRef"),
            },
            "status": {"token": token, "expirationTimestamp": _timestamp(expires)},
        }

    def _bound(self, namespace: str, reference: Json | None) -> Json | None:
        """Return the claims of a token that is bound to an object."""
        if not reference:
            return None
        kind, name = reference.get("kind", ""), reference.get("name", "")
        resource = _BOUND_KINDS.get(kind)
        if resource is None:
            raise errors.bad_request(f"cannot bind token for serviceaccount to type v1, Kind={kind}")
        found = self._cluster.store.get(("", resource), object_key("" if kind == "Node" else namespace, name))
        if found is None:
            raise errors.not_found(_Resource("", resource), name)
        return {kind.lower(): {"name": name, "uid": found.object["metadata"]["uid"]}}

    def _token_review(self, _user: User, _namespace: str, body: Json) -> Json:
        spec = body.get("spec") or {}
        if not spec.get("token"):
            raise errors.bad_request("token is required for TokenReview in authentication")
        audiences = spec.get("audiences") or [SERVICE_ACCOUNT_ISSUER]
        user = self._authenticator.of_token(spec["token"], audiences)
        status: Json = {"user": {}, "error": "invalid bearer token"}
        if user is not None:
            status = {"authenticated": True, "user": user_info(user), "audiences": audiences}
        return {"metadata": {}, "spec": spec, "status": status}

    def _self_subject_review(self, user: User, _namespace: str, _body: Json) -> Json:
        metadata = {"creationTimestamp": _timestamp(self._cluster.clock())}
        return {"metadata": metadata, "status": {"userInfo": user_info(user)}}

    def _self_access_review(self, user: User, _namespace: str, body: Json) -> Json:
        return self._reviewed(user, body, [])

    def _access_review(self, _user: User, namespace: str, body: Json) -> Json:
        spec = body.get("spec") or {}
        causes = []
        if not spec.get("user") and not spec.get("groups"):
            causes.append(_invalid("spec.user", '"": at least one of user or group must be specified'))
        asked = (spec.get("resourceAttributes") or {}).get("namespace", "")
        if namespace and asked != namespace:
            text = f"{quoted(asked)}: must match metadata.namespace"
            causes.append(_invalid("spec.resourceAttributes.namespace", text))
        extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
        user = User(spec.get("user", ""), spec.get("uid", ""), tuple(spec.get("groups") or ()), extra)
        return self._reviewed(user, body, causes)

    def _reviewed(self, user: User, body: Json, causes: list[Cause]) -> Json:
        spec = body.get("spec") or {}
        resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if resource is not None and path is not None:
            shown = f'{{"Path":{quoted(path.get("path", ""))},"Verb":{quoted(path.get("verb", ""))}}}'
            text = f"{shown}: cannot be specified in combination with resourceAttributes"
            causes.insert(0, _invalid("spec.nonResourceAttributes", text))
        if resource is None and path is None:
            text = "null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
            causes.insert(0, _invalid("spec.resourceAttributes", text))
        if causes:
            raise errors.invalid(_Kind(AUTHORIZATION, ""), "", causes)
        wanted = _resource_attributes(resource) if resource is not None else _path_attributes(path or {})
        allowed, problems = self._access.decide(user, wanted)
        status: Json = {"allowed": allowed}
        if problems:
            status["reason"] = f"RBAC: {', '.join(problems)}"
        metadata = {key: value for key, value in (body.get("metadata") or {}).items() if key == "namespace"}
        return {"metadata": metadata, "spec": spec, "status": status}

    def _rules_review(self, user: User, _namespace: str, body: Json) -> Json:
        namespace = (body.get("spec") or {}).get("namespace", "")
        if not namespace:
            raise errors.bad_request("no namespace on request")
        resources, paths = [], []
        for rule in self._access.rules(user, namespace):
            entry: Json = {"verbs": rule.verbs}
            if rule.non_resource_urls:
                paths.append({**entry, "nonResourceURLs": rule.non_resource_urls})
            else:
                entry |= {"apiGroups": rule.api_groups, "resources": rule.resources}
                resources.append(entry | ({"resourceNames": rule.resource_names} if rule.resource_names else {}))
        status = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
        return {"metadata": {}, "spec": {}, "status": status}


class _Resource(NamedTuple):
    group: str
    resource: str


def user_info(user: User) -> Json:
    """Return a UserInfo."""
    info: dict[str, Any] = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
    info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return {key: value for key, value in info.items() if value}


def _check_lifetime(seconds: int) -> None:
    text = ""
    if seconds < _SHORTEST_SECONDS:
        text = f"{seconds}: may not specify a duration less than 10 minutes"
    elif seconds > _LONGEST_SECONDS:
        text = f"{seconds}: may not specify a duration larger than 2^32 seconds"
    if text:
        kind = _Kind(AUTHENTICATION, "TokenRequest")
        raise errors.invalid(kind, "", [_invalid("spec.expirationSeconds", text)])


def _invalid(field: str, text: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {text}", field)


def _resource_attributes(spec: Json) -> Attributes:
    return Attributes(
        spec.get("verb", ""),
        spec.get("group", ""),
        spec.get("resource", ""),
        spec.get("subresource", ""),
        spec.get("namespace", ""),
        spec.get("name", ""),
    )


def _path_attributes(spec: Json) -> Attributes:
    return Attributes(spec.get("verb", ""), path=spec.get("path", ""))


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
