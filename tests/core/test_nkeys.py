"""NATS keys in their text form; that the form is NATS's own, a real nats-server says in tests/contracts."""

from __future__ import annotations

import pytest

from engine.core.nkeys import KeyPair, NotAKey, Role, check_public


@pytest.mark.parametrize("role", Role)
def test_a_key_is_read_as_it_was_written(role: Role) -> None:
    key = KeyPair(role, bytes(range(32)))
    assert KeyPair.read(key.text).public == key.public
    assert (key.public[0], key.text[:2]) == (role.name[0], f"S{role.name[0]}")
    check_public(key.public, role)
    assert key.text not in repr(key)


def test_a_key_with_a_wrong_character_is_none() -> None:
    key = KeyPair(Role.USER, bytes(range(32)))
    for text in (key.public, key.text):
        for place in range(len(text)):
            wrong = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
            with pytest.raises(NotAKey):
                (KeyPair.read if text == key.text else lambda one: check_public(one, Role.USER))(wrong)


@pytest.mark.parametrize("text", ["", "U", "not a key", "ü" * 56, "U" * 1000])
def test_what_is_no_key_is_refused_without_being_repeated(text: str) -> None:
    for read in (KeyPair.read, lambda one: check_public(one, Role.USER)):
        with pytest.raises(NotAKey) as caught:
            read(text)
        assert not text or text not in str(caught.value).removeprefix("not a ")


def test_a_public_key_is_no_private_one_and_one_role_no_other() -> None:
    key = KeyPair(Role.ACCOUNT, bytes(32))
    with pytest.raises(NotAKey):
        KeyPair.read(key.public)
    with pytest.raises(NotAKey):
        check_public(key.public, Role.USER)
