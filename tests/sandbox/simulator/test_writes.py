"""Creates, replaces, patches and applies: the frame around the object. Answers are those of kube-apiserver 1.36.3."""

from __future__ import annotations

import re
from typing import Any

import pytest

from engine.sandbox.simulator.api import run
from engine.sandbox.simulator.deletion import Steps
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.options import AdmissionRequest, AdmissionVerdict, Answer, WriteOptions
from engine.sandbox.simulator.resource_types import ResourceType
from tests.sandbox.simulator.clusters import NO_CONTROLLERS, Cluster, Json, define, refusal

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
DEPLOYMENT: Json = {
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }
}


CLAIM: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
JOB: Json = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(NO_CONTROLLERS)


def create(cluster: Cluster, body: Json, **options: Any) -> Answer:
    return cluster.create(cluster.type("configmaps"), "default", "", body, WriteOptions(**options))


def replace(cluster: Cluster, name: str, body: Json, **options: Any) -> Answer:
    return cluster.replace(cluster.type("configmaps"), "default", name, body, WriteOptions(**options))


# What a create fills in and refuses


def test_a_created_object_has_what_only_the_server_fills_in(cluster: Cluster) -> None:
    sent = {"metadata": {"name": "a", "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "selfLink": "/x"}}
    answer = create(cluster, sent)
    metadata = answer.object["metadata"]
    assert answer.code == 201
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", metadata["uid"])
    assert metadata["creationTimestamp"] == "2023-11-14T22:13:20Z"
    assert metadata["namespace"] == "default"
    assert metadata["resourceVersion"] == str(cluster.store.rv)
    assert "selfLink" not in metadata
    assert "generation" not in metadata
    assert (answer.object["kind"], answer.object["apiVersion"]) == ("ConfigMap", "v1")


def test_the_seed_makes_uids_and_names_repeatable() -> None:
    one, other = (create(Cluster(NO_CONTROLLERS), {"metadata": {"generateName": "a-"}}).object for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({}, 422, 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'),
        (
            {"kind": "Secret", "apiVersion": "v1"},
            400,
            (
                'Secret in version "v1" cannot be handled as a ConfigMap: '
                "converting (v1.Secret) to (core.ConfigMap): unknown conversion"
            ),
        ),
        (
            {"kind": "ConfigMap", "apiVersion": "v2"},
            400,
            (
                'ConfigMap in version "v2" cannot be handled as a ConfigMap: '
                'no kind "ConfigMap" is registered for version "v2" in scheme "pkg/runtime/scheme.go:111"'
            ),
        ),
        (
            {"metadata": {"name": "x", "namespace": "other"}},
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            {"metadata": {"name": "x", "resourceVersion": "5"}},
            500,
            "resourceVersion should not be set on objects to be created",
        ),
        ({"metadata": {"name": "there"}}, 409, 'configmaps "there" already exists'),
        (
            {"metadata": {"name": "dying"}},
            409,
            'object is being deleted: configmaps "dying" already exists',
        ),
    ],
)
def test_a_create_that_cannot_be_is_refused(cluster: Cluster, body: Json, code: int, message: str) -> None:
    cluster.make("configmaps", "there")
    cluster.make("configmaps", "dying", metadata={"finalizers": ["x.io/a"]})
    cluster.delete(cluster.type("configmaps"), "default", "dying")
    error = refusal(lambda: create(cluster, body))
    assert (error.code, error.message) == (code, message)


def test_a_namespace_must_be_there(cluster: Cluster) -> None:
    rtype = cluster.type("configmaps")
    error = refusal(lambda: cluster.create(rtype, "nowhere", "", {"metadata": {"name": "x"}}))
    assert (error.code, error.message) == (404, 'namespaces "nowhere" not found')
    assert error.details == {"name": "nowhere", "kind": "namespaces"}


def test_a_generated_name_is_tried_eight_times(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(["a-1", "a-1", "a-2"])
    monkeypatch.setattr(cluster.state, "generated_name", lambda _: next(names))
    assert create(cluster, {"metadata": {"generateName": "a-"}}).object["metadata"]["name"] == "a-1"
    assert create(cluster, {"metadata": {"generateName": "a-"}}).object["metadata"]["name"] == "a-2"
    tries: list[str] = []

    def always_the_same(prefix: str) -> str:
        tries.append(prefix)
        return "a-1"

    monkeypatch.setattr(cluster.state, "generated_name", always_the_same)
    error = refusal(lambda: create(cluster, {"metadata": {"generateName": "a-"}}))
    assert len(tries) == 8
    assert (error.code, error.reason, error.retry_after_seconds) == (409, "AlreadyExists", 1)
    assert error.message.endswith("the server was not able to generate a unique name for the object")


def test_a_long_prefix_is_cut_to_make_room_for_the_rest(cluster: Cluster) -> None:
    name = create(cluster, {"metadata": {"generateName": "x" * 70}}).object["metadata"]["name"]
    assert re.fullmatch("x{58}[bcdfghjklmnpqrstvwxz2456789]{5}", name)


def test_owners_named_twice_count_once_and_are_warned_of(cluster: Cluster) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u"}
    answer = create(cluster, {"metadata": {"name": "x", "ownerReferences": [owner, owner]}})
    assert answer.object["metadata"]["ownerReferences"] == [owner]
    assert answer.warnings[0].startswith(".metadata.ownerReferences contains duplicate entries; API server dedups")
    assert answer.warnings[0].endswith("duplicate UID(s) observed: u")


# Dry runs


def test_a_dry_run_answers_and_stores_nothing(cluster: Cluster) -> None:
    before = cluster.store.rv
    answer = create(cluster, {"metadata": {"name": "x"}}, dry_run=True)
    assert answer.code == 201
    assert answer.object["metadata"]["uid"]
    assert "resourceVersion" not in answer.object["metadata"]
    cluster.make("configmaps", "y", data={"a": "1"})
    changed = replace(cluster, "y", {"metadata": {"name": "y"}, "data": {"a": "2"}}, dry_run=True)
    assert changed.object["data"] == {"a": "2"}
    assert changed.object["metadata"]["resourceVersion"] == str(before + 1)
    assert cluster.store.rv == before + 1
    assert cluster.look("configmaps", "x") is None


# Updates


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"metadata": {"name": "b"}}, 400, "the name of the object (b) does not match the name on the URL (a)"),
        (
            {"metadata": {}},
            400,
            "the name of the object (a based on URL) was undeterminable: name must be provided",
        ),
        (
            {"metadata": {"name": "a", "namespace": "other"}},
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            {"metadata": {"name": "a", "resourceVersion": "3"}},
            409,
            f'Operation cannot be fulfilled on configmaps "a": {MODIFIED}',
        ),
        (
            {"metadata": {"name": "a", "resourceVersion": "abc"}},
            500,
            'strconv.ParseUint: parsing "abc": invalid syntax',
        ),
        (
            {"metadata": {"name": "a", "uid": "other"}},
            409,
            (
                'Operation cannot be fulfilled on configmaps "a": StorageError: invalid object, Code: 4, '
                "Key: /registry/configmaps/default/a, ResourceVersion: 0, AdditionalErrorMsg: "
                "Precondition failed: UID in precondition: other, UID in object meta: {uid}"
            ),
        ),
    ],
)
def test_a_replace_of_something_else_is_refused(cluster: Cluster, body: Json, code: int, message: str) -> None:
    uid = cluster.make("configmaps", "a")["metadata"]["uid"]
    error = refusal(lambda: replace(cluster, "a", body))
    assert (error.code, error.message) == (code, message.format(uid=uid))


def test_what_is_not_there_is_not_updated(cluster: Cluster) -> None:
    error = refusal(lambda: replace(cluster, "a", {"metadata": {"name": "a", "uid": "x"}}))
    assert (error.code, error.message) == (404, 'configmaps "a" not found')
    assert refusal(lambda: cluster.merge("configmaps", "a", {})).code == 404


def test_some_types_are_created_by_a_replace(cluster: Cluster) -> None:
    rtype = cluster.type("leases", "coordination.k8s.io")
    answer = cluster.replace(rtype, "default", "a", {"metadata": {"name": "a"}, "spec": {"holderIdentity": "me"}})
    assert answer.code == 201
    assert cluster.look("leases", "a", "coordination.k8s.io") == answer.object


def test_an_update_that_changes_nothing_keeps_its_version(cluster: Cluster) -> None:
    before = cluster.make("configmaps", "a", data={"x": "1"})
    cluster.time.now += 100
    after = replace(cluster, "a", {"metadata": {"name": "a"}, "data": {"x": "1"}})
    assert after.object == before
    assert cluster.store.rv == int(before["metadata"]["resourceVersion"])


@pytest.mark.parametrize(
    ("resource", "group", "spec", "labels", "changes"),
    [
        ("persistentvolumeclaims", "", CLAIM, {}, True),
        ("jobs", "batch", JOB, {}, True),
        ("jobs", "batch", JOB, {"a": "b"}, False),
        ("jobs", "batch", {**JOB, "manualSelector": True, "selector": {}}, {}, False),
    ],
    ids=["claim", "job", "job with labels", "job with a selector of its own"],
)
def test_what_is_stored_without_defaults_gets_them_with_the_first_write(
    cluster: Cluster, resource: str, group: str, spec: Json, labels: Json, changes: bool
) -> None:
    made = cluster.make(resource, "a", group, spec=spec, metadata={"labels": labels})
    first, second = (cluster.merge(resource, "a", {}, group) for _ in range(2))
    assert (made["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]) == changes
    assert first == second


def test_the_system_fields_survive_an_update_that_leaves_them_out(cluster: Cluster) -> None:
    before = cluster.make("configmaps", "a")["metadata"]
    body = {"metadata": {"name": "a", "creationTimestamp": "2001-01-01T00:00:00Z"}, "data": {"x": "1"}}
    after = replace(cluster, "a", body).object["metadata"]
    assert [after[name] for name in ("uid", "creationTimestamp")] == [
        before[name] for name in ("uid", "creationTimestamp")
    ]


@pytest.mark.parametrize(
    ("metadata", "field", "value"),
    [
        ({"uid": "other"}, "uid", '"other"'),
        ({"deletionTimestamp": "2001-01-01T00:00:00Z"}, "deletionTimestamp", '"2001-01-01T00:00:00Z"'),
    ],
)
def test_a_patch_cannot_change_what_is_the_servers(cluster: Cluster, metadata: Json, field: str, value: str) -> None:
    cluster.make("configmaps", "a")
    error = refusal(lambda: cluster.merge("configmaps", "a", {"metadata": metadata}))
    text = f"metadata.{field}: Invalid value: {value}: field is immutable"
    assert (error.code, error.message) == (422, f'ConfigMap "a" is invalid: {text}')


def test_a_custom_resource_is_not_replaced_without_saying_which_version() -> None:
    cluster = Cluster()
    define(cluster)
    cluster.make("foos", "a", "example.com", spec={"a": "1"})
    rtype = cluster.type("foos", "example.com")
    body = {"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "a"}}
    error = refusal(lambda: cluster.replace(rtype, "default", "a", body))
    text = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    assert (error.code, error.message) == (422, f'foos.example.com "a" is invalid: {text}')


# Generation


@pytest.mark.parametrize(
    ("resource", "group", "body", "changes"),
    [
        (
            "deployments",
            "apps",
            DEPLOYMENT,
            [
                ({"metadata": {"labels": {"x": "y"}}}, 0),
                ({"metadata": {"annotations": {"x": "y"}}}, 1),
                ({"spec": {"replicas": 2}}, 1),
                ({"spec": {"replicas": 2}}, 0),
                ({"status": {"replicas": 2}}, 0),
            ],
        ),
        ("configmaps", "", {"data": {"a": "1"}}, [({"data": {"a": "2"}}, None)]),
        (
            "priorityclasses",
            "scheduling.k8s.io",
            {"value": 1},
            [({"metadata": {"labels": {"x": "y"}}}, 0), ({"description": "d"}, 0)],
        ),
        (
            "networkpolicies",
            "networking.k8s.io",
            {"spec": {"podSelector": {}}},
            [({"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}, 1)],
        ),
    ],
)
def test_the_generation_follows_what_the_type_says(
    cluster: Cluster, resource: str, group: str, body: Json, changes: list[tuple[Json, int | None]]
) -> None:
    generation = cluster.make(resource, "a", group, **body)["metadata"].get("generation")
    for patch, step in changes:
        after = cluster.merge(resource, "a", patch, group)["metadata"].get("generation")
        if step is None:
            assert generation is after is None
        else:
            assert after == generation + step
        generation = after


# Apply


def test_an_apply_creates_and_then_changes(cluster: Cluster) -> None:
    rtype = cluster.type("configmaps")
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "resourceVersion": "5"},
        "data": {"x": "1"},
    }
    options = WriteOptions(field_manager="m")
    assert cluster.apply(rtype, "default", "a", config, options).code == 201
    error = refusal(lambda: cluster.apply(rtype, "default", "a", config, options))
    assert error.message == f'Operation cannot be fulfilled on configmaps "a": {MODIFIED}'
    del config["metadata"]
    again = cluster.apply(rtype, "default", "a", {**config, "data": {"y": "2"}}, options)
    assert (again.code, again.object["data"]) == (200, {"y": "2"})


def test_an_apply_with_the_uid_of_what_is_gone_is_refused(cluster: Cluster) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "abc"}}
    options = WriteOptions(field_manager="m")
    error = refusal(lambda: cluster.apply(cluster.type("configmaps"), "default", "a", config, options))
    why = "uid mismatch: the provided object specified uid abc, and no existing object was found"
    assert error.message == f'Operation cannot be fulfilled on configmaps "a": {why}'


# Fields that are unknown or given twice


@pytest.mark.parametrize("validation", ["Strict", "Warn", "Ignore"])
def test_unknown_and_duplicate_fields_are_refused_warned_of_or_ignored(cluster: Cluster, validation: Any) -> None:
    body = {"metadata": {"name": "a", "foo": 1}, "data": {"a": "2"}, "bar": {}}
    options = {"field_validation": validation, "duplicate_fields": ("data.a",)}
    problems = ['unknown field "metadata.foo"', 'duplicate field "data.a"', 'unknown field "bar"']
    if validation == "Strict":
        error = refusal(lambda: create(cluster, body, **options))
        assert error.message == (
            f'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: {", ".join(problems)}'
        )
        return
    answer = create(cluster, body, **options)
    assert list(answer.warnings) == (problems if validation == "Warn" else [])
    assert "bar" not in answer.object


def test_a_patch_that_makes_something_else_is_no_valid_patch(cluster: Cluster) -> None:
    cluster.make("configmaps", "a")
    error = refusal(lambda: cluster.merge("configmaps", "a", {"data": {"x": 3}}))
    assert (error.code, error.reason) == (422, "Invalid")
    assert error.message.startswith(' "" is invalid: patch: Invalid value: "{')
    assert error.message.endswith("json: cannot unmarshal number into Go struct field ConfigMap.data of type string")


# Admission


class Webhooks:
    """Wants to see every write of ConfigMaps."""

    def concerns(self, operation: str, rtype: ResourceType, subresource: str) -> bool:
        return rtype.resource == "configmaps"


def steps(cluster: Cluster, body: Json) -> Steps:
    return cluster.steps.patch(
        cluster.type("configmaps"), "default", "a", body, WriteOptions(), patch_type="application/merge-patch+json"
    )


def test_a_write_asks_webhooks_first_to_change_and_then_to_refuse(cluster: Cluster) -> None:
    cluster.admission = Webhooks()
    asking = cluster.steps.create(
        cluster.type("configmaps"), "default", "", {"metadata": {"name": "a"}}, WriteOptions(field_manager="m")
    )
    question = next(asking)
    assert isinstance(question, AdmissionRequest)
    assert (question.phase, question.operation, question.name, question.old_object) == ("mutating", "CREATE", "a", None)
    assert question.options["fieldManager"] == "m"
    assert question.object is not None
    changed = {**question.object, "data": {"added": "yes"}}
    question = asking.send(AdmissionVerdict(changed, ("careful",)))
    assert question.phase == "validating"
    assert question.object is not None
    assert question.object["data"] == {"added": "yes"}
    assert question.object["metadata"]["uid"], "validating ones see what would be stored"
    with pytest.raises(StopIteration) as end:
        asking.send(AdmissionVerdict())
    answer = end.value.value
    assert answer.object["data"] == {"added": "yes"}
    assert answer.warnings == ("careful",)


def test_a_refusal_of_a_webhook_ends_the_write(cluster: Cluster) -> None:
    cluster.admission = Webhooks()
    asking = cluster.steps.create(
        cluster.type("configmaps"), "default", "", {"metadata": {"name": "a"}}, WriteOptions()
    )
    next(asking)
    with pytest.raises(ApiError):
        asking.throw(ApiError(403, "Forbidden", "no"))
    assert cluster.look("configmaps", "a") is None


def test_a_write_that_is_overtaken_while_it_waits_starts_again(cluster: Cluster) -> None:
    cluster.make("configmaps", "a", data={"x": "1"})
    cluster.admission = Webhooks()
    asking = steps(cluster, {"data": {"y": "2"}})
    next(asking)
    cluster.admission = None
    cluster.merge("configmaps", "a", {"data": {"x": "changed"}})
    cluster.admission = Webhooks()
    assert asking.send(AdmissionVerdict()).phase == "validating"
    question = asking.send(AdmissionVerdict())
    assert question.phase == "mutating"
    assert question.object is not None
    assert question.object["data"] == {"x": "changed", "y": "2"}
    asking.send(AdmissionVerdict())
    with pytest.raises(StopIteration) as end:
        asking.send(AdmissionVerdict())
    assert end.value.value.object["data"] == {"x": "changed", "y": "2"}


def test_without_webhooks_a_write_does_not_stop_on_its_way(cluster: Cluster) -> None:
    cluster.make("configmaps", "a")
    with pytest.raises(StopIteration):
        next(steps(cluster, {"data": {"y": "2"}}))
    assert run(steps(cluster, {"data": {"y": "3"}})).object["data"] == {"y": "3"}


# Built-in admission


def test_a_pod_gets_what_built_in_plugins_give_it(cluster: Cluster) -> None:
    spec = cluster.make("pods", "a", spec={"containers": [{"name": "c", "image": "i"}]})["spec"]
    assert spec["priority"] == 0
    assert spec["preemptionPolicy"] == "PreemptLowerPriority"
    assert [one["key"] for one in spec["tolerations"]] == [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ]
    important = {"containers": [{"name": "c", "image": "i"}], "priorityClassName": "system-node-critical"}
    assert cluster.make("pods", "b", spec=important)["spec"]["priority"] == 2_000_001_000
    unknown = {"containers": [{"name": "c", "image": "i"}], "priorityClassName": "nope"}
    error = refusal(lambda: cluster.make("pods", "c", spec=unknown))
    assert error.message == 'pods "c" is forbidden: no PriorityClass with name nope was found'
