"""Reconcilers are found by name or place, and a wrong name says what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconcilers.foo import foo
from reconcilers.registry import UnknownReconciler, find, find_all

USER = """
from crosscurrent import Decision, Request, View, reconciler

@reconciler("mine", watches="v1/configmaps")
def mine(view: View, request: Request) -> Decision:
    return Decision.wait()

other = 7
again = reconciler("mine", watches="v1/secrets")(lambda view, request: Decision.wait())
"""


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "users_module.py").write_text(USER)
    return tmp_path


def test_a_built_in_is_found_by_name() -> None:
    assert find("foo") is foo


def test_a_users_own_is_found_beside_the_configuration(search: Path) -> None:
    mine = find("users_module:mine", search=search)
    assert (mine.name, [str(one) for one in mine.watches]) == ("mine", ["v1/configmaps"])
    assert mine.manager == "crosscurrent/mine"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fooo", "no built-in reconciler 'fooo'; there are federation, foo"),
        ("nowhere_to_be_found:x", "is the module beside"),
        ("users_module:missing", "no such attribute"),
        ("users_module:other", "not made with @reconciler"),
    ],
)
def test_a_wrong_name_says_what_to_do(search: Path, name: str, says: str) -> None:
    with pytest.raises(UnknownReconciler, match=says):
        find(name, search=search)


def test_two_reconcilers_may_not_share_a_name(search: Path) -> None:
    with pytest.raises(UnknownReconciler, match="two reconcilers are called 'mine'"):
        find_all(["users_module:mine", "users_module:again"], search=search)
