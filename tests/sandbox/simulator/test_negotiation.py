from __future__ import annotations

import pytest

from engine.sandbox.simulator.discovery import wants_aggregated
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.negotiation import (
    JSON,
    PROTOBUF,
    YAML,
    Target,
    Wanted,
    body_media_type,
    wanted,
    wanted_of_watch,
)

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Wanted()),
        ("*/*", Wanted()),
        ("application/json", Wanted()),
        ("application/json;q=0.1,application/yaml", Wanted(YAML)),
        ("text/plain, application/json;charset=utf-8", Wanted()),
        (f"{TABLE},application/json", Wanted(JSON, Target.TABLE, "meta.k8s.io/v1")),
        ("application/json;as=Nope;v=v1;g=meta.k8s.io,application/json", Wanted()),
        ("application/vnd.kubernetes.protobuf,application/json", Wanted()),
        (
            f"application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,{TABLE}",
            Wanted(JSON, Target.TABLE, "meta.k8s.io/v1"),
        ),
        (
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
            Wanted(JSON, Target.METADATA_LIST, "meta.k8s.io/v1"),
        ),
    ],
)
def test_the_best_form_that_the_server_has_is_chosen(accept: str, expected: Wanted) -> None:
    assert wanted(accept) == expected


@pytest.mark.parametrize(
    ("accept", "message"),
    [
        ("text/html", "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml"),
        ("application/*", "406: Not Acceptable\n\n"),
        ("application/json;as=Table;v=v2;g=meta.k8s.io", "only the following media types are accepted: "),
    ],
)
def test_a_form_that_the_server_does_not_have_is_refused(accept: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        wanted(accept)
    assert caught.value.code == 406
    assert caught.value.message.startswith(message)


def test_watches_are_never_yaml() -> None:
    with pytest.raises(ApiError) as caught:
        wanted_of_watch("application/yaml")
    assert "application/json;stream=watch" in caught.value.message
    assert wanted_of_watch("application/json;stream=watch") == Wanted()


def test_a_body_is_json_unless_it_says_otherwise() -> None:
    assert [body_media_type(one) for one in ("", "application/json; charset=utf-8", YAML, PROTOBUF)] == [
        JSON,
        JSON,
        YAML,
        PROTOBUF,
    ]
    with pytest.raises(ApiError) as caught:
        body_media_type("text/plain")
    assert caught.value.code == 415


def test_aggregated_discovery_is_asked_for_by_parameters() -> None:
    assert wants_aggregated("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json")
    assert not wants_aggregated("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList")
    assert not wants_aggregated("application/json")
