"""What processes are told of the configuration: who gets the key of Secrets' values, and who must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from crosscurrent import joining, processes
from crosscurrent.errors import UserError
from crosscurrent.settings import Settings, load

FEDERATED_SECRETS = "types.kubefed.io/v1beta1/federatedsecrets"
FEDERATED_OBJECTS = "crosscurrent.dev/v1alpha1/federatedobjects"


def configured(directory: Path, **config: Any) -> Settings:
    path = directory / "crosscurrent.yaml"
    path.write_text(yaml.safe_dump({"apiVersion": "crosscurrent.dev/v1alpha1", "kind": "Config", **config}))
    return load(path)


def told(settings: Settings) -> Any:
    return processes.watch_settings(settings, processes.watched_types(settings, processes.check(settings)))


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"reconcilers": ["foo"]}, False),
        ({"reconcilers": ["foo"], "resources": ["v1/secrets"]}, True),
        ({"reconcilers": ["foo"], "resources": [FEDERATED_SECRETS]}, True),
        ({"reconcilers": ["foo"], "resources": [FEDERATED_OBJECTS]}, True),
        ({"reconcilers": ["foo"], "resources": ["*/*"]}, True),
        ({"reconcilers": ["federation"]}, True),
    ],
)
def test_whoever_may_meet_values_of_secrets_has_a_key_to_hide_them_with(
    tmp_path: Path, config: dict[str, Any], key: bool
) -> None:
    assert bool(told(configured(tmp_path, **config)).redaction_key) is key


@pytest.mark.parametrize(("resource", "fails"), [(FEDERATED_OBJECTS, False), (FEDERATED_SECRETS, True)])
def test_without_a_place_for_a_key_only_what_cannot_do_without_fails(
    tmp_path: Path, resource: str, fails: bool
) -> None:
    (tmp_path / "a-file").touch()
    settings = configured(tmp_path, reconcilers=["foo"], resources=[resource], state_directory="a-file")
    if fails:
        with pytest.raises(UserError, match=r"redaction\.key"):
            told(settings)
    else:
        assert told(settings).redaction_key == b""


def test_members_that_watch_themselves_are_not_told_to_watch_secrets_in_any_form(tmp_path: Path) -> None:
    settings = configured(tmp_path, reconcilers=["federation"], federation={"types": ["v1/secrets", "v1/configmaps"]})
    resources = told(settings).resources
    assert {"v1/secrets", FEDERATED_SECRETS, FEDERATED_OBJECTS, "v1/configmaps"} <= set(resources)
    ordered = joining.orders(settings).resources
    assert set(resources) - set(ordered) == {"v1/secrets", *(one for one in resources if "federatedsecrets" in one)}
    assert FEDERATED_OBJECTS in ordered
