"""-l and --field-selector select what kubectl's would, and more fields; errors are in its words."""

from __future__ import annotations

import pytest

from crosscurrent.errors import UsageError
from crosscurrent.selectors import Selector

BODY = {
    "metadata": {"name": "web", "labels": {"app": "web", "tier": "front"}},
    "spec": {"replicas": 3, "paused": False, "note": "a,b=c"},
    "status": {},
}


@pytest.mark.parametrize(
    ("labels", "fields", "selected"),
    [
        ("", "", True),
        ("app", "", True),
        ("!app", "", False),
        ("app in (web, api),tier!=back", "", True),
        ("app=web,nope", "", False),
        ("", "metadata.name==web,spec.replicas=3", True),
        ("", "spec.replicas!=3", False),
        ("", "spec.paused=false", True),
        ("", "status.phase=", True),
        ("", "status.phase!=Running", True),
        ("", "metadata=", True),
        ("", r"spec.note=a\,b\=c", True),
        ("app=web", "metadata.name=api", False),
        ("app=api", "metadata.name=web", False),
    ],
)
def test_labels_and_fields_must_all_be_as_asked_for(labels: str, fields: str, *, selected: bool) -> None:
    assert Selector(labels, fields).selects(BODY) is selected


@pytest.mark.parametrize(
    ("labels", "fields", "why"),
    [
        ("a in b", "", r"unable to parse requirement: found 'b' expected: '\('"),
        ("a=b=c", "", "unable to parse requirement|found '='"),
        ("", "a", "can't understand 'a'"),
        ("", "a=b=c", "unescaped character"),
    ],
)
def test_what_is_no_selector_is_refused_in_kubernetes_words(labels: str, fields: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Selector(labels, fields)


def test_without_conditions_everything_is_selected() -> None:
    assert Selector().everything
    assert Selector().selects({})
    assert not Selector(fields="a=").everything
