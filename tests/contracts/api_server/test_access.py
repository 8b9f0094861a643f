"""Who may do what: 401 and 403 with what they say, roles, tokens and the reviews that ask beforehand."""

from __future__ import annotations

import base64
import json

from tests.api_session import ApiSession, Json
from tests.contracts.api_server.servers import Place, config_map

RBAC = "/apis/rbac.authorization.k8s.io/v1"


async def token_of(place: Place, name: str = "sa", **spec: object) -> str:
    """Make a ServiceAccount, and return a token of it."""
    accounts = place.path("serviceaccounts")
    assert (await place.session.post(accounts, {"metadata": {"name": name}})).status == 201
    made = await place.session.post(f"{accounts}/{name}/token", {"spec": spec})
    assert made.status == 201, made
    return str(made.body["status"]["token"])


async def allow(place: Place, *rules: Json, name: str = "sa") -> None:
    """Let the ServiceAccount do this in the namespace."""
    group = "rbac.authorization.k8s.io/v1"
    role = {"metadata": {"name": name}, "rules": list(rules)}
    assert (await place.session.post(place.path("roles", group=group), role)).status == 201
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": place.namespace}],
    }
    assert (await place.session.post(place.path("rolebindings", group=group), binding)).status == 201
    review = {
        "spec": {
            "user": f"system:serviceaccount:{place.namespace}:{name}",
            "resourceAttributes": {
                "namespace": place.namespace,
                "verb": rules[0]["verbs"][0],
                "group": rules[0]["apiGroups"][0],
                "resource": rules[0]["resources"][0].partition("/")[0],
                "subresource": rules[0]["resources"][0].partition("/")[2],
                "name": rules[0].get("resourceNames", [""])[0],
            },
        }
    }
    for _ in range(100):  # the real authoriser learns of a binding by watching
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        if (await place.session.post(path, review)).body["status"]["allowed"]:
            return
    raise AssertionError("the role is not in force")


async def test_a_token_that_is_none_is_unauthorised(session: ApiSession) -> None:
    async with session.bearing("nonsense") as stranger:
        for path in ("/api/v1/namespaces", "/version"):
            answer = await stranger.get(path)
            assert answer.failed() == (401, "Unauthorized")
            assert answer.message == "Unauthorized"


async def test_nobody_may_do_nearly_nothing(place: Place) -> None:
    async with place.session.bearing("") as nobody:
        answer = await nobody.get(place.maps)
        assert answer.failed() == (403, "Forbidden")
        assert answer.message == (
            'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" in API group "" in the '
            f'namespace "{place.namespace}"'
        )
        assert (await nobody.get("/version")).status == 200
        assert (await nobody.get("/readyz")).body == "ok"
        api = await nobody.get("/api")
        assert api.message == 'forbidden: User "system:anonymous" cannot get path "/api"'


async def test_what_a_service_account_may_not_do_is_said(place: Place) -> None:
    user = f"system:serviceaccount:{place.namespace}:sa"
    async with place.session.bearing(await token_of(place)) as bearer:
        assert (await bearer.get("/apis")).status == 200
        refused = {
            (await bearer.get("/api/v1/nodes")).message: "nodes is forbidden: User {} cannot list resource "
            '"nodes" in API group "" at the cluster scope',
            (
                await bearer.post(place.maps, config_map())
            ).message: "configmaps is forbidden: User {} cannot create resource "
            '"configmaps" in API group "" in the namespace {ns}',
            (
                await bearer.delete(f"{place.maps}/x")
            ).message: 'configmaps "x" is forbidden: User {} cannot delete resource '
            '"configmaps" in API group "" in the namespace {ns}',
            (
                await bearer.put(f"{place.deployments}/a/scale", {})
            ).message: 'deployments.apps "a" is forbidden: User {} cannot '
            'update resource "deployments/scale" in API group "apps" in the namespace {ns}',
            (
                await bearer.get(place.maps, watch="true")
            ).message: "configmaps is forbidden: User {} cannot watch resource "
            '"configmaps" in API group "" in the namespace {ns}',
            (await bearer.get("/metrics")).message: 'forbidden: User {} cannot get path "/metrics"',
        }
    for said, expected in refused.items():
        assert said == expected.replace("{}", f'"{user}"').replace("{ns}", f'"{place.namespace}"')


async def test_a_role_allows_what_it_says_and_no_more(place: Place) -> None:
    token = await token_of(place)
    await allow(
        place, {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["get", "update"]}
    )
    await place.make_map("a")
    await place.make_map("b")
    async with place.session.bearing(token) as bearer:
        assert (await bearer.put(f"{place.maps}/a", config_map("a", {"k": "1"}))).status == 200
        assert (await bearer.get(f"{place.maps}/b")).status == 403
        assert (await bearer.get(place.maps)).status == 403
        assert (await bearer.delete(f"{place.maps}/a")).status == 403


async def test_a_subresource_is_allowed_by_itself(place: Place) -> None:
    token = await token_of(place)
    await place.make_deployment()
    await allow(place, {"apiGroups": ["apps"], "resources": ["deployments/status"], "verbs": ["get", "patch"]})
    async with place.session.bearing(token) as bearer:
        assert (await bearer.get(f"{place.deployments}/a/status")).status == 200
        assert (await bearer.patch(f"{place.deployments}/a/status", {"status": {"replicas": 1}})).status == 200
        assert (await bearer.get(f"{place.deployments}/a")).status == 403


async def test_nobody_grants_what_he_does_not_have(place: Place) -> None:
    token = await token_of(place)
    await allow(place, {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]})
    role = {"metadata": {"name": "more"}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}
    async with place.session.bearing(token) as bearer:
        refused = await bearer.post(place.path("roles", group="rbac.authorization.k8s.io/v1"), role)
    assert refused.failed() == (403, "Forbidden")
    assert "is attempting to grant RBAC permissions not currently held" in refused.message


async def test_a_token_says_whose_it_is_and_for_how_long(place: Place) -> None:
    token = await token_of(place, expirationSeconds=600)
    header, payload, _ = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
    assert claims["sub"] == f"system:serviceaccount:{place.namespace}:sa"
    assert claims["aud"] == ["https://kubernetes.default.svc"]
    assert claims["exp"] - claims["iat"] == 600
    assert claims["kubernetes.io"]["namespace"] == place.namespace
    assert claims["kubernetes.io"]["serviceaccount"]["name"] == "sa"
    async with place.session.bearing(token) as bearer:
        me = await bearer.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    info = me.body["status"]["userInfo"]
    assert info["username"] == claims["sub"]
    assert info["groups"] == [
        "system:serviceaccounts",
        f"system:serviceaccounts:{place.namespace}",
        "system:authenticated",
    ]


async def test_a_token_for_others_is_not_for_the_server(place: Place) -> None:
    async with place.session.bearing(await token_of(place, audiences=["elsewhere"])) as bearer:
        assert (await bearer.get("/api")).status == 401


async def test_a_token_request_has_its_limits(place: Place) -> None:
    await token_of(place)
    path = place.path("serviceaccounts", "sa/token")
    short = await place.session.post(path, {"spec": {"expirationSeconds": 5}})
    assert short.failed() == (422, "Invalid")
    assert short.message == (
        'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 5: may not specify a '
        "duration less than 10 minutes"
    )
    missing = await place.session.post(place.path("serviceaccounts", "none/token"), {"spec": {}})
    assert missing.message == 'serviceaccounts "none" not found'


async def test_a_token_can_be_reviewed(place: Place) -> None:
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    good = await place.session.post(path, {"spec": {"token": await token_of(place)}})
    assert good.body["status"]["authenticated"] is True
    assert good.body["status"]["user"]["username"] == f"system:serviceaccount:{place.namespace}:sa"
    bad = await place.session.post(path, {"spec": {"token": "nonsense"}})
    assert bad.body["status"] == {"user": {}, "error": "invalid bearer token"}


async def test_one_may_ask_what_one_may(place: Place) -> None:
    token = await token_of(place)
    await allow(place, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]})
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    async with place.session.bearing(token) as bearer:
        for verb, allowed in (("list", True), ("delete", False)):
            attributes = {"namespace": place.namespace, "verb": verb, "resource": "configmaps"}
            review = await bearer.post(path, {"spec": {"resourceAttributes": attributes}})
            assert (review.status, review.body["status"]["allowed"]) == (201, allowed)
        rules = await bearer.post(
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": place.namespace}}
        )
    assert {"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]} in rules.body["status"]["resourceRules"]


async def test_the_administrator_may_do_everything(session: ApiSession) -> None:
    review = await session.post(
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {"spec": {"resourceAttributes": {"verb": "*", "group": "*", "resource": "*"}}},
    )
    assert review.body["status"]["allowed"] is True
    assert (await session.get(f"{RBAC}/clusterroles/cluster-admin")).status == 200
