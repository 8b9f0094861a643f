"""Selectors select what Kubernetes' own would."""

from __future__ import annotations

import pytest

from engine.core.selectors import FieldSelector, LabelSelector, SelectorError

LABELS = {"app": "web", "tier": "front", "rank": "7", "empty": "", "example.com/team": "a"}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("app", True),
        ("!app", False),
        ("!nope", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app=web,tier=back", False),
        ("app!=web", False),
        ("nope!=web", True),
        ("app in (web, api)", True),
        (" app in ( api ) ", False),
        ("app notin (api),nope notin (x)", True),
        ("rank>6", True),
        ("rank>7", False),
        ("rank<10,rank>-1", True),
        ("app>1", False),
        ("empty=", True),
        ("app=", False),
        ("empty in (,x)", True),
        ("example.com/team=a", True),
    ],
)
def test_labels_are_selected(text: str, *, selected: bool) -> None:
    assert LabelSelector.parse(text).matches(LABELS) is selected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("app=web,", "expected a label after ','"),
        ("a b", "expected one of"),
        ("=b", "expected a label's key"),
        ("a in b", "expected '\\('"),
        ("a in (b", "expected '\\)'"),
        ("a>b", "expected a whole number"),
        ("a>99999999999999999999", "expected a whole number"),
        ("-a", "expected a label's key"),
        ("UPPER.example/x=1", "expected a label's key"),
        ("a=-b", "expected a label's value"),
        ("a=b c", "expected ','"),
        (f"{'x' * 64}=1", "expected a label's key"),
        ("!", "expected a label's key"),
    ],
)
def test_a_text_that_is_no_label_selector_is_refused_with_the_place(text: str, why: str) -> None:
    with pytest.raises(SelectorError, match=why):
        LabelSelector.parse(text)


BODY = {"metadata": {"name": "web"}, "spec": {"replicas": 3, "paused": False, "note": "a,b=c"}, "status": {}}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("metadata.name=web", True),
        ("metadata.name==web,spec.replicas=3", True),
        ("spec.replicas!=3", False),
        ("spec.paused=false", True),
        ("status.phase=", True),
        ("status.phase!=Running", True),
        ("metadata=", True),
        (r"spec.note=a\,b\=c", True),
        ("metadata.name=web,", True),
    ],
)
def test_fields_are_selected(text: str, *, selected: bool) -> None:
    assert FieldSelector.parse(text).matches(BODY) is selected


@pytest.mark.parametrize("text", ["a", "=x", "a=b=c", "a,b=c"])
def test_a_text_that_is_no_field_selector_is_refused(text: str) -> None:
    with pytest.raises(SelectorError, match="invalid field selector"):
        FieldSelector.parse(text)
