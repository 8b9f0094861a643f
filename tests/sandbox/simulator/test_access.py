"""RBAC and identities without HTTP; that answers are the real server's is in the contract suite."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from engine.sandbox.certificates import signing_key
from engine.sandbox.simulator.access import Access, Attributes, Rule, attributes_of, forbidden
from engine.sandbox.simulator.bootstrap import make_roles
from engine.sandbox.simulator.cluster import SimulatedCluster
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.escalation import Escalation
from engine.sandbox.simulator.identity import ANONYMOUS, Authenticator, TokenSigner
from engine.sandbox.simulator.options import ADMINISTRATOR, AdmissionRequest, User
from engine.sandbox.simulator.request_info import parse_request

RBAC = "rbac.authorization.k8s.io"
BOB = User("bob", groups=("team", "system:authenticated"))
ROBOT = User("system:serviceaccount:a:robot", groups=("system:authenticated",))
GET_PODS = Attributes("get", "", "pods", "", "a", "x")


@pytest.mark.parametrize(
    ("rule", "wanted", "allowed"),
    [
        (Rule(("get",), ("",), ("pods",)), GET_PODS, True),
        (Rule(("*",), ("*",), ("*",)), GET_PODS, True),
        (Rule(("list",), ("",), ("pods",)), GET_PODS, False),
        (Rule(("get",), ("apps",), ("pods",)), GET_PODS, False),
        (Rule(("get",), ("",), ("pods",), ("x",)), GET_PODS, True),
        (Rule(("get",), ("",), ("pods",), ("y",)), GET_PODS, False),
        (Rule(("get",), ("",), ("pods",)), Attributes("get", "", "pods", "log", "a", "x"), False),
        (Rule(("get",), ("",), ("pods/log",)), Attributes("get", "", "pods", "log", "a", "x"), True),
        (Rule(("get",), ("",), ("*/log",)), Attributes("get", "", "pods", "log", "a", "x"), True),
        (Rule(("get",), ("",), ("*/log",)), GET_PODS, False),
        (Rule(("get",), non_resource_urls=("/healthz",)), Attributes("get", path="/healthz"), True),
        (Rule(("get",), non_resource_urls=("/api/*",)), Attributes("get", path="/api/v1"), True),
        (Rule(("get",), non_resource_urls=("/api",)), Attributes("get", path="/api/v1"), False),
        (Rule(("get",), ("*",), ("*",)), Attributes("get", path="/api"), False),
    ],
)
def test_a_rule_allows_what_it_names(rule: Rule, wanted: Attributes, allowed: bool) -> None:
    assert rule.allows(wanted) is allowed


@pytest.fixture
def cluster() -> SimulatedCluster:
    made = SimulatedCluster("rbac", seed=1)
    make_roles(made)
    rtype = made.types.find("", "v1", "namespaces")
    assert rtype is not None
    made.create(rtype, "", "", {"metadata": {"name": "a"}})
    return made


def put(cluster: SimulatedCluster, resource: str, name: str, namespace: str = "", **fields: Any) -> None:
    rtype = cluster.types.find(RBAC, "v1", resource)
    assert rtype is not None
    cluster.create(rtype, namespace, "", {"metadata": {"name": name}, **fields})


def role_ref(kind: str, name: str) -> dict[str, str]:
    return {"apiGroup": RBAC, "kind": kind, "name": name}


READ_PODS = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]


def test_roles_count_where_they_are_bound(cluster: SimulatedCluster) -> None:
    access = Access(cluster.store)
    assert access.decide(BOB, GET_PODS) == (False, [])
    put(cluster, "roles", "reader", "a", rules=READ_PODS)
    subjects = [{"kind": "Group", "name": "team"}, {"kind": "ServiceAccount", "name": "robot"}]
    put(cluster, "rolebindings", "r", "a", roleRef=role_ref("Role", "reader"), subjects=subjects)
    assert access.decide(BOB, GET_PODS)[0]
    assert access.decide(ROBOT, GET_PODS)[0]  # of the binding's own namespace
    assert not access.decide(BOB, Attributes("get", "", "pods", "", "default", "x"))[0]
    assert not access.decide(BOB, Attributes("list", "", "pods"))[0]


def test_a_binding_to_a_role_that_is_not_there_is_told(cluster: SimulatedCluster) -> None:
    put(cluster, "rolebindings", "r", "a", roleRef=role_ref("Role", "gone"), subjects=[{"kind": "User", "name": "bob"}])
    allowed, problems = Access(cluster.store).decide(BOB, GET_PODS)
    error = forbidden(BOB, GET_PODS, problems)
    assert not allowed
    assert error.message == (
        'pods "x" is forbidden: User "bob" cannot get resource "pods" in API group "" in the namespace "a": '
        'RBAC: role.rbac.authorization.k8s.io "gone" not found'
    )


def test_everybody_may_discover_and_ask_about_themselves(cluster: SimulatedCluster) -> None:
    access = Access(cluster.store)
    access.check(BOB, parse_request("GET", "/apis/apps/v1"))
    access.check(BOB, parse_request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"))
    access.check(ANONYMOUS, parse_request("GET", "/version"))
    for user, method, path in (
        (ANONYMOUS, "GET", "/api"),
        (BOB, "GET", "/api/v1/secrets"),
        (BOB, "GET", "/metrics"),
    ):
        with pytest.raises(ApiError) as caught:
            access.check(user, parse_request(method, path))
        assert caught.value.code == 403
    access.check(ADMINISTRATOR, parse_request("GET", "/metrics"))


def test_a_list_of_one_name_is_judged_by_that_name() -> None:
    info = parse_request("GET", "/api/v1/namespaces/a/pods?fieldSelector=status.phase%3DRunning,metadata.name%3Dx")
    assert attributes_of(info) == Attributes("list", "", "pods", "", "a", "x")


def written(
    resource: str, obj: dict[str, Any], old: dict[str, Any] | None = None, user: User = BOB
) -> AdmissionRequest:
    return AdmissionRequest(
        phase="validating",
        operation="UPDATE" if old else "CREATE",
        group=RBAC,
        version="v1",
        resource=resource,
        kind="",
        subresource="",
        namespace="a",
        name="x",
        object=obj,
        old_object=old,
        options={},
        dry_run=False,
        user=user,
    )


SECRETS = {"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"], "resourceNames": ["s"]}]}


def test_nobody_grants_what_they_do_not_have(cluster: SimulatedCluster) -> None:
    escalation = Escalation(Access(cluster.store))
    with pytest.raises(ApiError) as caught:
        escalation.check(written("roles", SECRETS))
    assert caught.value.code == 403
    assert caught.value.message == (
        'roles.rbac.authorization.k8s.io "x" is forbidden: user "bob" (groups=["team" "system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["secrets"], ResourceNames:["s"], Verbs:["get", "list"]}'
    )
    escalation.check(written("roles", SECRETS, user=ADMINISTRATOR))
    escalation.check(written("roles", SECRETS, SECRETS))  # which grants nothing new


@pytest.mark.parametrize(
    "rule",
    [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]},
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"], "resourceNames": ["s", "t"]},
        {"apiGroups": [RBAC], "resources": ["roles"], "verbs": ["escalate"]},
    ],
)
def test_who_has_it_or_may_escalate_grants_it(cluster: SimulatedCluster, rule: dict[str, Any]) -> None:
    put(cluster, "clusterroles", "has", rules=[rule])
    put(
        cluster,
        "clusterrolebindings",
        "has",
        roleRef=role_ref("ClusterRole", "has"),
        subjects=[{"kind": "User", "name": "bob"}],
    )
    Escalation(Access(cluster.store)).check(written("roles", SECRETS))


@pytest.mark.parametrize(
    ("rule", "refused"),
    [
        ({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["s"]}, True),
        (
            {"apiGroups": [RBAC], "resources": ["clusterroles"], "verbs": ["bind"], "resourceNames": ["cluster-admin"]},
            False,
        ),
    ],
)
def test_nobody_binds_a_role_that_is_more_than_they_have(
    cluster: SimulatedCluster, rule: dict[str, Any], refused: bool
) -> None:
    put(cluster, "clusterroles", "has", rules=[rule])
    subjects = [{"kind": "User", "name": "bob"}]
    put(cluster, "clusterrolebindings", "has", roleRef=role_ref("ClusterRole", "has"), subjects=subjects)
    binding = {"roleRef": role_ref("ClusterRole", "cluster-admin"), "subjects": subjects}
    escalation = Escalation(Access(cluster.store))
    if not refused:
        escalation.check(written("rolebindings", binding))
        return
    with pytest.raises(ApiError, match="attempting to grant RBAC permissions not currently held"):
        escalation.check(written("rolebindings", binding))


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts() -> dict[tuple[str, str], str]:
    return {("a", "robot"): "uid-1"}


@pytest.fixture
def authenticator(clock: Clock, accounts: dict[tuple[str, str], str]) -> Authenticator:
    signer = TokenSigner(signing_key())
    return Authenticator({"static": BOB}, signer, lambda *key: accounts.get(key, ""), clock)


def test_a_token_is_good_for_its_time_its_audience_and_its_account(
    authenticator: Authenticator, clock: Clock, accounts: dict[tuple[str, str], str]
) -> None:
    token, expires = authenticator.issue("a", "robot", "uid-1", seconds=600, audiences=[])
    assert expires == clock.now + 600
    user = authenticator.user(f"Bearer {token}", None)
    assert (user.name, user.uid) == ("system:serviceaccount:a:robot", "uid-1")
    assert authenticator.of_token(token, ["elsewhere"]) is None
    clock.now += 600
    assert authenticator.of_token(token) is None
    clock.now -= 601
    assert authenticator.of_token(token) is None  # not yet
    clock.now += 1
    accounts["a", "robot"] = "uid-2"
    assert authenticator.of_token(token) is None
    del accounts["a", "robot"]
    assert authenticator.of_token(token) is None


def test_a_token_of_another_key_or_a_changed_one_is_no_good(authenticator: Authenticator, clock: Clock) -> None:
    token, _ = authenticator.issue("a", "robot", "uid-1", seconds=600, audiences=[])
    other = Authenticator({}, TokenSigner(signing_key()), lambda *_: "uid-1", clock)
    assert other.of_token(token) is None
    head, body, tail = token.split(".")
    for text in (
        f"{head}.{body[:-2]}AA.{tail}",
        f"{head}.{body}.{tail[:-4]}AAAA",
        "a.b.c",
        "",
        "...",
        f"{head}.{body}.",
    ):
        assert authenticator.of_token(text) is None


def test_no_credentials_are_anonymous_and_bad_ones_are_refused(authenticator: Authenticator) -> None:
    assert authenticator.user("", None) is ANONYMOUS
    assert authenticator.user("Basic abc", None) is ANONYMOUS
    assert authenticator.user("bearer static", None) is BOB
    with pytest.raises(ApiError) as caught:
        authenticator.user("Bearer nonsense", None)
    assert caught.value.code == 401


def test_every_token_is_another(authenticator: Authenticator) -> None:
    tokens = [authenticator.issue("a", "robot", "uid-1", seconds=600, audiences=["x"])[0] for _ in range(3)]
    assert all(one != other for one, other in itertools.combinations(tokens, 2))
