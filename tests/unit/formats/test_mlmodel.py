"""MLmodel files, right and hostile: what can't be read is refused, and nothing ends the process."""

import pytest

from lockstep.formats.mlmodel import Described, InvalidMLmodelError, read_mlmodel

NOTHING = Described()


def test_ids_and_signature_are_read_from_the_top_only() -> None:
    body = b"flavors:\n  python_function:\n    run_id: inner\nmodel_id: m-1\nrun_id: r-1\nsignature:\n  inputs: '[]'\n"
    assert read_mlmodel(body) == Described("r-1", "m-1", signature=True)


@pytest.mark.parametrize("body", [b"run_id: null\nmodel_id: ~\nsignature: null\n", b"run_id:\nmodel_id:\n", b"{}", b""])
def test_null_is_nothing(body: bytes) -> None:
    assert read_mlmodel(body) == NOTHING


def test_a_quoted_null_is_text() -> None:
    assert read_mlmodel(b"run_id: 'null'").run_id == "null"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 900_000,
        b"- " * 400_000,
        b"{a: " * 200_000,
        b"run_id: a\nrun_id: b\n",
        b"run_id: a\n<<: {model_id: b}\n",
        b"- run_id: a\n",
        b"run_id: a\n---\nrun_id: b\n",
        b"run_id: [",
        b"\xff\xfe\x00",
        b"run_id: \x00",
    ],
)
def test_a_file_that_can_be_read_two_ways_or_not_at_all_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidMLmodelError):
        read_mlmodel(body)


def test_dates_that_are_none_and_aliases_do_no_harm() -> None:
    assert read_mlmodel(b"utc_time_created: 2020-13-45\nrun_id: &a r-1\nmodel_id: *a\n") == Described("r-1", None)


def test_long_ids_are_cut() -> None:
    assert len(read_mlmodel(b"run_id: " + b"a" * 100_000).run_id or "") == 256
