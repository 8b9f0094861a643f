"""Lists, pages and watches. Messages and codes are those of kube-apiserver 1.36.3, to which the same was put."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest

from engine.sandbox.simulator.options import ListAnswer, ListOptions, WatchOptions
from tests.sandbox.simulator.clusters import NO_CONTROLLERS, Cluster, define, refusal, watch_from_now, watched

FUTURE = "99999999"
MATCH = "resourceVersionMatch"
UNPARSED = "strconv.ParseUint: parsing"
REQUIRES = f"{MATCH}: Forbidden: sendInitialEvents requires setting {MATCH} to NotOlderThan"
UNSUPPORTED = 'Unsupported value: "Exact": supported values: "NotOlderThan"'
INVALID = 'ListOptions.meta.k8s.io "" is invalid:'


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster(NO_CONTROLLERS)
    for number in range(5):
        cluster.make("configmaps", f"a{number}", metadata={"labels": {"odd": str(number % 2)}})
    return cluster


def listed(cluster: Cluster, namespace: str = "default", **options: Any) -> ListAnswer:
    return cluster.list(cluster.type("configmaps"), namespace, ListOptions(**options))


def names(answer: ListAnswer) -> list[str]:
    return [one.name for one in answer.items]


def token(rv: int, start: str, version: str = "meta.k8s.io/v1") -> str:
    return urlsafe_b64encode(json.dumps({"v": version, "rv": rv, "start": start}).encode()).decode().rstrip("=")


def test_pages_show_the_moment_of_the_first_one(cluster: Cluster) -> None:
    first = listed(cluster, limit=2)
    assert (names(first), first.remaining) == (["a0", "a1"], 3)
    cluster.delete(cluster.type("configmaps"), "default", "a3")
    cluster.make("configmaps", "a2b")
    second = listed(cluster, limit=2, continue_token=first.continue_token)
    assert (names(second), second.remaining) == (["a2", "a3"], 1)
    last = listed(cluster, limit=2, continue_token=second.continue_token)
    assert (names(last), last.continue_token, last.remaining) == (["a4"], "", None)
    assert {first.resource_version, second.resource_version, last.resource_version} == {first.resource_version}


def test_a_continue_token_is_the_servers(cluster: Cluster) -> None:
    answer = listed(cluster, limit=1)
    text = urlsafe_b64decode(answer.continue_token + "==")
    assert text == f'{{"v":"meta.k8s.io/v1","rv":{answer.resource_version},"start":"/a0\\u0000"}}'.encode()


def test_with_a_selector_nobody_knows_how_many_remain_and_the_last_page_may_be_empty(cluster: Cluster) -> None:
    first = listed(cluster, limit=3, label_selector="odd=0")
    assert (names(first), first.remaining, first.continue_token) == (["a0", "a2", "a4"], None, "")
    first = listed(cluster, limit=2, label_selector="odd=0")
    assert first.continue_token
    assert listed(cluster, limit=2, label_selector="odd=1").continue_token
    rest = listed(cluster, limit=2, label_selector="odd=1", continue_token=token(cluster.store.rv, "a3\0"))
    assert (names(rest), rest.continue_token) == ([], "")


def test_an_old_page_is_refused_with_a_token_that_goes_on_without_consistency(cluster: Cluster) -> None:
    first = listed(cluster, limit=2)
    cluster.make("configmaps", "a1b")
    cluster.compact()
    error = refusal(lambda: listed(cluster, limit=2, continue_token=first.continue_token))
    assert (error.code, error.reason) == (410, "Expired")
    assert error.message.endswith("and now may show up in the list.")
    going_on = error.status()["metadata"]["continue"]
    assert json.loads(urlsafe_b64decode(going_on + "=="))["rv"] == -1
    rest = listed(cluster, continue_token=going_on)
    assert names(rest) == ["a1b", "a2", "a3", "a4"]
    assert rest.resource_version == str(cluster.store.rv)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"resource_version": "0", "limit": 2}, ["a0", "a1", "a2", "a4", "b"]),
        ({"resource_version": "then"}, ["a0", "a1", "a2", "a4", "b"]),
        ({"resource_version": "then", "limit": 10}, ["a0", "a1", "a2", "a3", "a4"]),
        ({"resource_version": "then", "resource_version_match": "Exact"}, ["a0", "a1", "a2", "a3", "a4"]),
        ({"resource_version": "then", "resource_version_match": "NotOlderThan"}, ["a0", "a1", "a2", "a4", "b"]),
        ({"limit": -1}, ["a0", "a1", "a2", "a4", "b"]),
    ],
)
def test_which_moment_a_list_shows(cluster: Cluster, options: dict[str, Any], expected: list[str]) -> None:
    then = str(cluster.store.rv)
    cluster.delete(cluster.type("configmaps"), "default", "a3")
    cluster.make("configmaps", "b")
    if options.get("resource_version") == "then":
        options = {**options, "resource_version": then}
    assert names(listed(cluster, **options)) == expected


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            {"resource_version_match": "Exact"},
            422,
            f"{INVALID} {MATCH}: Forbidden: {MATCH} is forbidden unless resourceVersion is provided",
        ),
        (
            {"resource_version": "0", "resource_version_match": "Exact"},
            422,
            f'{INVALID} {MATCH}: Forbidden: {MATCH} "exact" is forbidden for resourceVersion "0"',
        ),
        (
            {"resource_version": "1", "resource_version_match": "Foo"},
            422,
            f'{INVALID} {MATCH}: Unsupported value: "Foo": supported values: "Exact", "NotOlderThan", ""',
        ),
        (
            {"resource_version": "1", "resource_version_match": "Exact", "continue_token": token(5, "a")},
            422,
            f"{INVALID} {MATCH}: Forbidden: {MATCH} is forbidden when continue is provided",
        ),
        (
            {"resource_version": "5", "continue_token": token(5, "a")},
            400,
            "specifying resource version is not allowed when using continue",
        ),
        (
            {"resource_version": "abc"},
            400,
            f'invalid resource version: resourceVersion: Invalid value: "abc": {UNPARSED} "abc": invalid syntax',
        ),
        ({"continue_token": "xyz!"}, 400, "illegal base64 data at input byte 3"),
        ({"continue_token": "e30"}, 400, "server does not recognize this encoded version "),
        ({"continue_token": token(0, "a")}, 400, "incorrect encoded start resourceVersion (version meta.k8s.io/v1)"),
        ({"continue_token": token(5, "")}, 400, "encoded start key empty (version meta.k8s.io/v1)"),
        ({"continue_token": token(5, "a", "v2")}, 400, "server does not recognize this encoded version v2"),
        ({"continue_token": token(5, "../a")}, 400, "../a"),
        (
            {"continue_token": "W10"},
            400,
            "json: cannot unmarshal array into Go value of type storage.continueToken",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    cluster: Cluster, options: dict[str, Any], code: int, message: str
) -> None:
    error = refusal(lambda: listed(cluster, **options))
    if "continue_token" in options and "resource_version" not in options:
        message = f"invalid continue token: continue key is not valid: {message}"
    assert (error.code, error.message) == (code, message)


@pytest.mark.parametrize(
    "options",
    [
        {"resource_version": FUTURE},
        {"resource_version": FUTURE, "resource_version_match": "Exact"},
        {"resource_version": FUTURE, "limit": 2},
        {"continue_token": token(int(FUTURE), "a")},
    ],
)
def test_the_future_is_not_listed(cluster: Cluster, options: dict[str, Any]) -> None:
    error = refusal(lambda: listed(cluster, **options))
    assert (error.code, error.reason) == (504, "Timeout")
    assert error.message == f"Timeout: Too large resource version: {FUTURE}, current: {cluster.store.rv}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    assert error.details == {"causes": causes, "retryAfterSeconds": 1}


def test_a_compacted_moment_is_not_listed(cluster: Cluster) -> None:
    then = str(cluster.store.rv - 1)
    cluster.compact()
    error = refusal(lambda: listed(cluster, resource_version=then, resource_version_match="Exact"))
    assert (error.code, error.message) == (410, "The resourceVersion for the provided list is too old.")


def test_one_object_is_read_as_it_is_now_or_not_at_all(cluster: Cluster) -> None:
    rtype = cluster.type("configmaps")
    assert cluster.get(rtype, "default", "a1", resource_version="1").object["metadata"]["name"] == "a1"
    assert refusal(lambda: cluster.get(rtype, "default", "a1", resource_version=FUTURE)).code == 504
    assert refusal(lambda: cluster.get(rtype, "default", "a1", resource_version="x")).code == 500
    assert refusal(lambda: cluster.get(rtype, "other", "a1")).message == 'configmaps "a1" not found'


def test_a_watch_tells_what_changed_since(cluster: Cluster) -> None:
    then = str(cluster.store.rv)
    cluster.merge("configmaps", "a1", {"data": {"x": "1"}})
    changed = str(cluster.store.rv)
    cluster.delete(cluster.type("configmaps"), "default", "a1")
    subscription = cluster.watch(cluster.type("configmaps"), "default", WatchOptions(resource_version=then))
    assert watched(subscription) == [("MODIFIED", "a1", changed), ("DELETED", "a1", str(cluster.store.rv))]
    cluster.make("configmaps", "new")
    assert watched(subscription) == [("ADDED", "new", str(cluster.store.rv))]


def test_an_object_enters_and_leaves_what_a_watch_selects(cluster: Cluster) -> None:
    subscription = watch_from_now(cluster, "configmaps", label_selector="odd=1")
    cluster.merge("configmaps", "a0", {"metadata": {"labels": {"odd": "1"}}})
    entered = str(cluster.store.rv)
    cluster.merge("configmaps", "a0", {"data": {"x": "1"}})
    changed = str(cluster.store.rv)
    cluster.merge("configmaps", "a0", {"metadata": {"labels": {"odd": "0"}}, "data": {"x": "2"}})
    left = str(cluster.store.rv)
    cluster.merge("configmaps", "a0", {"data": {"x": "3"}})
    cluster.delete(cluster.type("configmaps"), "default", "a0")
    events = []
    while subscription.pending:
        events += subscription.take()
    told = [(one.type, one.object["metadata"]["resourceVersion"]) for one in events]
    assert told == [("ADDED", entered), ("MODIFIED", changed), ("DELETED", left)]
    assert events[-1].object["data"] == {"x": "1"}, "what left is shown as it was before it left"
    assert events[-1].object["metadata"]["labels"] == {"odd": "1"}


def test_watchers_of_the_same_share_bytes(cluster: Cluster) -> None:
    one, other = watch_from_now(cluster, "configmaps"), watch_from_now(cluster, "configmaps")
    cluster.make("configmaps", "new")
    assert one.take()[0].line() is other.take()[0].line()


@pytest.mark.parametrize("version", ["", "0"])
def test_a_watch_from_nowhere_begins_with_what_there_is(cluster: Cluster, version: str) -> None:
    options = WatchOptions(resource_version=version, field_selector="metadata.name!=a3")
    subscription = cluster.watch(cluster.type("configmaps"), "", options)
    cluster.make("configmaps", "new")
    assert [(kind, name) for kind, name, _ in watched(subscription)] == [
        *(("ADDED", f"a{number}") for number in (0, 1, 2, 4)),
        ("ADDED", "new"),
    ]


def test_initial_events_end_with_a_bookmark_if_the_client_knows_bookmarks(cluster: Cluster) -> None:
    options = WatchOptions(send_initial_events=True, resource_version_match="NotOlderThan", allow_bookmarks=True)
    subscription = cluster.watch(cluster.type("pods"), "", options)
    (bookmark,) = subscription.initial
    assert bookmark.type == "BOOKMARK"
    assert bookmark.object == {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "resourceVersion": str(cluster.store.rv),
            "annotations": {"k8s.io/initial-events-end": "true"},
        },
        "spec": {"containers": None},
        "status": {},
    }


def test_a_watch_may_begin_in_the_future_and_then_misses_what_comes_before(cluster: Cluster) -> None:
    later = cluster.store.rv + 2
    subscription = cluster.watch(cluster.type("configmaps"), "", WatchOptions(resource_version=str(later)))
    for name in ("x", "y", "z"):
        cluster.make("configmaps", name)
    assert watched(subscription) == [("ADDED", "z", str(later + 1))]


def test_a_watch_may_begin_before_the_first_object_of_its_type(cluster: Cluster) -> None:
    then = str(cluster.store.rv - 3)
    cluster.make("secrets", "s")
    subscription = cluster.watch(cluster.type("secrets"), "", WatchOptions(resource_version=then))
    assert [kind for kind, _, _ in watched(subscription)] == ["ADDED"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (WatchOptions(resource_version="old"), 410, "too old resource version: {old} ({floor})"),
        (
            WatchOptions(resource_version=FUTURE, resource_version_match="NotOlderThan", send_initial_events=True),
            504,
            f"Timeout: Too large resource version: {FUTURE}, current: {{rv}}",
        ),
    ],
)
def test_some_problems_are_told_within_the_stream(
    cluster: Cluster, options: WatchOptions, code: int, message: str
) -> None:
    old = cluster.store.rv - 1
    if options.resource_version == "old":
        options = WatchOptions(resource_version=str(old))
    cluster.compact()
    subscription = cluster.watch(cluster.type("configmaps"), "", options)
    (event,) = subscription.initial
    assert event.type == "ERROR"
    assert event.object["code"] == code
    assert event.object["message"] == message.format(old=old, floor=cluster.store.rv, rv=cluster.store.rv)
    assert subscription.ended


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            WatchOptions(send_initial_events=True),
            REQUIRES,
        ),
        (
            WatchOptions(resource_version="1", resource_version_match="NotOlderThan"),
            f"{MATCH}: Forbidden: {MATCH} is forbidden for watch unless sendInitialEvents is provided",
        ),
        (
            WatchOptions(resource_version="1", resource_version_match="Exact", send_initial_events=True),
            f"[{REQUIRES}, {MATCH}: {UNSUPPORTED}]",
        ),
        (WatchOptions(continue_token="x"), f"{MATCH}: Forbidden: {MATCH} is forbidden when continue is provided"),
    ],
)
def test_contradictory_watches_are_refused(cluster: Cluster, options: WatchOptions, message: str) -> None:
    error = refusal(lambda: cluster.watch(cluster.type("configmaps"), "", options))
    assert (error.code, error.message) == (422, f'ListOptions.meta.k8s.io "" is invalid: {message}')


def test_a_watch_that_falls_behind_the_history_ends(cluster: Cluster) -> None:
    cluster = Cluster(NO_CONTROLLERS, history_limit=8)
    subscription = watch_from_now(cluster, "configmaps")
    for number in range(20):
        cluster.make("configmaps", f"b{number}")
    assert subscription.pending
    assert subscription.take() == []
    assert subscription.ended


def test_a_restore_ends_watches_and_turns_versions_back(cluster: Cluster) -> None:
    snapshot = cluster.snapshot()
    cluster.make("configmaps", "later")
    subscription = watch_from_now(cluster, "configmaps")
    cluster.restore(snapshot)
    assert subscription.pending
    assert subscription.take() == []
    assert subscription.ended
    assert "later" not in cluster.names("configmaps")
    assert cluster.store.rv == snapshot.rv


def test_whoever_waits_is_woken_by_a_write_and_no_more_after_closing(cluster: Cluster) -> None:
    woken: list[int] = []
    rtype = cluster.type("configmaps")
    options = WatchOptions(resource_version=str(cluster.store.rv))
    subscription = cluster.watch(rtype, "", options, on_change=lambda: woken.append(1))
    cluster.make("configmaps", "x")
    assert woken == [1]
    subscription.close()
    cluster.make("configmaps", "y")
    assert woken == [1]


def test_a_watch_of_a_type_that_is_no_longer_served_ends() -> None:
    cluster = Cluster()
    define(cluster)
    subscription = watch_from_now(cluster, "foos", "example.com")
    cluster.delete(cluster.type("customresourcedefinitions", "apiextensions.k8s.io"), "", "foos.example.com")
    cluster.settle()
    assert watched(subscription) == []
    assert subscription.ended
