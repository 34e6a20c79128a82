"""The files of a model: OMS's order and digest, what is left out, and that every change of them is named."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.formats.canonical import sha256_of
from lockstep.formats.modelfiles import (
    MAX_FILES,
    MAX_PACKED,
    NOT_THE_MODEL,
    InvalidModelFilesError,
    ModelFile,
    ModelFiles,
    changes,
)

names = st.text(st.characters(codec="ascii", categories=("L", "N")) | st.sampled_from("-._ é"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..") and name.isprintable()
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
bodies = st.dictionaries(paths, st.binary(max_size=20), min_size=1, max_size=8)


def listed(found: Mapping[str, bytes]) -> ModelFiles:
    return ModelFiles.of({path: ModelFile(sha256_of(body), len(body)) for path, body in found.items()})


def test_the_root_digest_is_the_one_of_the_specifications_test_vector() -> None:
    """OMS 1.0, test-vectors/v1.0/valid/key.bundle.json: two resources and their subject."""
    first = "sha256:bc9a717db6064a32cbe9eae6fc40651dd6d36ef1757183f590eff2b1765d7ebc"
    second = "sha256:32dcb1f8e1ae52d5963e56a6ba06ab58b424c15ed2a6b70d2feca1d089370028"
    files = ModelFiles.of({"signme-2": ModelFile(second, 1), "signme-1": ModelFile(first, 1)})
    assert files.digest == "sha256:92745110b1ab4368471cbe31664e10174e954b113a3df333db860317b2c6dec4"


def test_files_are_ordered_by_the_code_points_of_their_whole_path() -> None:
    found = listed({"model/x": b"1", "model.pkl": b"2", "model-1": b"3", "é": b"4", "Z": b"5"})
    assert list(found.files) == ["Z", "model-1", "model.pkl", "model/x", "é"]


def test_what_is_none_of_the_models_is_left_out_at_its_place_and_nowhere_else() -> None:
    model = {"MLmodel": b"m", "model.pkl": b"w"}
    assert listed(model | dict.fromkeys(NOT_THE_MODEL, b"x")) == listed(model)
    elsewhere = {f"sub/{path}": b"x" for path in NOT_THE_MODEL} | {"lockstep/evil.py": b"x", ".gitignore": b"x", ".git/x": b""}
    assert set(listed(model | elsewhere).files) == {*model, *elsewhere}


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", "./a", "a/./b", "../a", "a/..", "a\nb", "a\x1bb", "\udcff", "x" * 1025, "é" * 600]
)
def test_a_path_that_programs_read_differently_is_refused(path: str) -> None:
    with pytest.raises(InvalidModelFilesError):
        listed({path: b""})


def test_no_files_and_too_many_are_refused() -> None:
    for found in ({}, dict.fromkeys(NOT_THE_MODEL, b"x"), {str(number): b"" for number in range(MAX_FILES + 1)}):
        with pytest.raises(InvalidModelFilesError):
            listed(found)


@given(bodies)
def test_a_list_comes_back_as_it_was_packed(found: dict[str, bytes]) -> None:
    assert ModelFiles.unpack(listed(found).pack()) == listed(found)


def test_a_model_of_as_many_files_as_there_may_be_fits_into_an_object_of_the_cluster() -> None:
    found = {f"assets/shard-{number:05}/weights-of-a-layer.bin": str(number).encode() for number in range(MAX_FILES)}
    packed = listed(found).pack()
    assert len(packed) < MAX_PACKED
    assert ModelFiles.unpack(packed) == listed(found)


@pytest.mark.parametrize("text", ["", "!", "eJyrBQAAdQD5", "e30=", "eNqrVkrMLVayUkpUqlWyMq0FAB9dBDU="])
def test_what_was_not_packed_is_refused(text: str) -> None:
    with pytest.raises(InvalidModelFilesError):
        ModelFiles.unpack(text)


@given(bodies, st.data())
def test_any_change_of_a_byte_a_name_or_an_addition_is_named_on_either_side(
    found: dict[str, bytes], data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(found)))
    other = data.draw(paths.filter(lambda one: one not in found and one not in NOT_THE_MODEL))
    before = listed(found)
    edited = changes(before, listed(found | {path: found[path] + b"!"}))
    assert (edited.changed, edited.missing, edited.added) == ((path,), (), ())
    flipped = changes(before, listed(found | {path: bytes([(found[path] or b"\0")[0] ^ 1]) + found[path][1:]}))
    assert flipped.changed == (path,)
    added = changes(before, listed(found | {other: b"x"}))
    assert (added.changed, added.missing, added.added) == ((), (), (other,))
    assert changes(listed(found | {other: b"x"}), before).missing == (other,)
    renamed = changes(before, listed({other if name == path else name: body for name, body in found.items()}))
    assert (renamed.changed, renamed.missing, renamed.added) == ((), (path,), (other,))
    assert not changes(before, listed(dict(reversed(found.items()))))


def test_files_that_were_renamed_are_others_although_the_root_digest_is_the_same() -> None:
    before, after = listed({"a.py": b"1", "b.py": b"2"}), listed({"c.py": b"1", "d.py": b"2"})
    assert before.digest == after.digest
    assert before != after
    assert changes(before, after)


def test_differences_are_said_by_name_and_not_without_end() -> None:
    found = changes(listed({"w": b"1", "gone": b"2"}), listed({"w": b"x"} | {f"new{n}": b"" for n in range(9)}))
    assert found.describe("is another file") == (
        "w is another file, gone is missing, new0 was added, new1 was added, new2 was added and 6 more"
    )
