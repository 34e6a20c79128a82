"""YAML as kubectl reads it."""

from typing import Any

import pytest

from lockstep.cli.admission.text import documents, parts

SCALARS: dict[str, Any] = {
    "yes": True,
    "y": True,
    "Off": False,
    "n": False,
    "~": None,
    "": None,
    "12": 12,
    "1_000": 1000,
    "0x1F": 31,
    "017": 15,
    "0o17": 15,
    "0b11": 3,
    "-5": -5,
    "09": 9,
    "1e1": 10,
    "1.5": 1.5,
    ".5": 0.5,
    "2.0": 2,
    "12:30": "12:30",
    "2026-11-25": "2026-11-25",
    "2026-11-25T10:00:00Z": "2026-11-25T10:00:00Z",
    "'12'": "12",
    '"yes"': "yes",
    "!!str 12": "12",
    "1.2.3": "1.2.3",
    "=": "=",
}


@pytest.mark.parametrize(("written", "value"), SCALARS.items())
def test_a_scalar_is_what_kubectl_makes_of_it(written: str, value: Any) -> None:
    (document,) = documents(f"a: {written}")
    assert document == {"a": value}
    assert type(document["a"]) is type(value)


def test_keys_are_text() -> None:
    assert documents("{1: a, true: b, 1.5: c}") == [{"1": "a", "true": "b", "1.5": "c"}]


def test_merge_keys_are_followed_and_may_be_overridden() -> None:
    assert documents("a: &m {p: 1, q: 2}\nb: {<<: *m, q: 3}") == [{"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}]


def test_empty_documents_are_left_out_and_json_is_yaml() -> None:
    assert documents('---\n{"a": 1}\n---\n---\n# nothing\n---\nb: 2\n') == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2", "[", "a: .inf", "a: 1e999", "{[1]: 2}", "a: !!python/object:os.system {}", "\t-"]
)
def test_what_kubectl_can_not_send_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        documents(text)


def test_a_list_is_its_items() -> None:
    assert list(parts({"kind": "List", "items": [1, 2]})) == [1, 2]
    assert list(parts({"kind": "ModelDeployment"})) == [{"kind": "ModelDeployment"}]
