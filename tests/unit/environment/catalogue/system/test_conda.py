"""Conda's records of its packages."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.describe import describe
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.catalogue.system.conda import check_record, conda, conda_version
from lockstep.environment.document import EnvironmentDocument
from lockstep.environment.tree import Entry, EntryTree, FileKind
from tests.fakes.roots import Files, To, debian, elf, tree


def record(name: str, version: str, build: str = "h1_0", prefix: str = "/opt/conda") -> Files:
    stated = {"name": name, "version": version, "build": build, "build_number": 0, "files": ["lib/x.so"], "sha256": "0" * 64}
    return {f"{prefix}/conda-meta/{name}-{version}-{build}.json": json.dumps(stated)}


def interpreter(prefix: str) -> Files:
    return {
        f"{prefix}/bin/python3.11": elf(),
        f"{prefix}/bin/python": To("python3.11"),
        f"{prefix}/lib/python3.11/os.py": "",
        f"{prefix}/lib/python3.11/site-packages": None,
    }


def described(files: Files, *argv: str) -> EnvironmentDocument:
    return describe(tree(debian(), files), Launch(argv, {}), machine="x86_64", collector="test")


def refused(files: Files) -> str:
    with pytest.raises(CatalogueError) as caught:
        conda(tree(files), "/opt/conda")
    assert caught.value.reason is Reason.SYSTEM_UNVERIFIABLE
    return caught.value.message


def test_packages_stand_with_their_build() -> None:
    files = record("libopenblas", "0.3.27", "pthreads_h413a1c8_0") | record("mkl-include", "2024.1")
    files |= {"/opt/conda/conda-meta/history": "==> now <==\n"}
    assert conda(tree(files), "/opt/conda") == {"libopenblas": "0.3.27 pthreads_h413a1c8_0", "mkl-include": "2024.1 h1_0"}


def test_a_prefix_that_is_not_condas_has_no_such_packages() -> None:
    assert conda(tree(record("x", "1")), "/usr") is None
    assert conda(tree({"/opt/conda/conda-meta/history": ""}), "/opt/conda") == {}


@pytest.mark.parametrize("prefix", ["/opt/conda", "/opt/conda/envs/serve"])
def test_the_environment_of_the_interpreter_that_runs_counts(prefix: str) -> None:
    files = record("base-only", "1") | record("env-only", "2", prefix="/opt/conda/envs/serve")
    files |= interpreter("/opt/conda") | interpreter("/opt/conda/envs/serve")
    only = {"/opt/conda": {"base-only": "1 h1_0"}, "/opt/conda/envs/serve": {"env-only": "2 h1_0"}}
    assert described(files, f"{prefix}/bin/python").system.conda == only[prefix]


def test_an_interpreter_outside_conda_takes_no_notice_of_it() -> None:
    document = described(record("x", "1") | interpreter("/opt/conda"), "/usr/bin/python3")
    assert document.system.conda is None
    assert "conda" not in document.payload()["system"]


def test_condas_record_states_pythons_version_where_the_binary_does_not() -> None:
    files = interpreter("/opt/conda") | record("python", "3.11.9") | {"/opt/conda/bin/python3.11": b"\x7fELF"}
    assert described(files, "/opt/conda/bin/python").python.version == "3.11.9"
    assert conda_version(tree(files), "/opt/conda", "none") is None


def test_two_records_of_one_name_are_refused() -> None:
    refused(record("numpy", "1.26.4") | record("numpy", "2.0.0"))
    refused(record("numpy", "1.26.4", "h1_0") | record("numpy", "1.26.4", "h1_1"))


def test_a_record_that_states_something_else_than_its_name_is_refused() -> None:
    for wrong in ({"name": "y"}, {"version": "2"}, {"build": "h2"}, {"version": 1}):
        body = json.dumps({"name": "x", "version": "1", "build": "h1"} | wrong)
        refused({"/opt/conda/conda-meta/x-1-h1.json": body})


HOSTILE = [b"", b"{", b"[]", b"1", b"null", b"{}", b"\xff\xfe", b"[" * 500_000, b'{"name":' * 100_000, b"1" * 10_000]


@pytest.mark.parametrize("body", HOSTILE)
def test_a_record_that_is_none_is_refused(body: bytes) -> None:
    refused({"/opt/conda/conda-meta/x-1-h1.json": body})


@pytest.mark.parametrize("name", ["x", "x-1", "-1-h1", "x--h1", "x-1-", "x y-1-h1", "x\x1b-1-h1", "x" * 600 + "-1-h1"])
def test_a_record_whose_name_can_not_be_told_is_refused(name: str) -> None:
    files: Files = {f"/opt/conda/conda-meta/{name}.json": ""}
    assert refused(files).isprintable()


def test_a_record_too_large_to_be_kept_is_known_by_its_name() -> None:
    files = EntryTree(
        {"/opt/conda/conda-meta/cudatoolkit-11.8.0-h6a678d5_0.json": Entry(FileKind.FILE, why_unread="too large")}
    )
    assert conda(files, "/opt/conda") == {"cudatoolkit": "11.8.0 h6a678d5_0"}


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists, max_leaves=5).map(json.dumps).map(str.encode))
def test_whatever_the_bytes_are_they_are_a_record_or_refused(body: bytes) -> None:
    with contextlib.suppress(CatalogueError):
        check_record(body, "/x.json", ("x", "1", "h1"))
        raise AssertionError("such bytes are no record of x")
