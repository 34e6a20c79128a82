"""Compiled files that run instead of their source."""

import py_compile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lockstep.environment.catalogue.describe import describe
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.document import BytecodeKind
from lockstep.environment.tree import Entry, EntryTree, FileKind, FileStat
from lockstep.images.layers.record import LayerRecord
from lockstep.images.layers.squash import Squash
from lockstep.images.limits import Limits
from tests.fakes.roots import VENV_SITE, Files, debian, distribution, record_row, tree, venv

CACHE = "/app/__pycache__/x.cpython-311.pyc"


def header(flags: int = 0, modified: int = 0, size: int = 3) -> bytes:
    return b"\xa7\x0d\x0d\x0a" + b"".join(number.to_bytes(4, "little") for number in (flags, modified, size)) + b"code"


def found(files: Files, *, env: dict[str, str] | None = None) -> dict[str, BytecodeKind]:
    return of(tree(debian(), venv(), {"/app/serve.py": ""}, files), env)


def of(root: EntryTree, env: dict[str, str] | None = None) -> dict[str, BytecodeKind]:
    launch = Launch(("/opt/venv/bin/python", "/app/serve.py"), env or {}, "/app")
    return describe(root, launch, machine="x86_64", collector="test").bytecode or {}


def test_a_cache_that_is_checked_against_its_source_is_fine() -> None:
    assert found({"/app/x.py": "abc", CACHE: header()}) == {}
    assert found({"/app/x.py": "abc", CACHE: header(modified=7)}) == {}
    assert found({"/app/x.py": "abc", CACHE: header(flags=3)}) == {}


@pytest.mark.parametrize("optimised", ["", ".opt-1", ".opt-2"])
def test_an_unchecked_hash_is_named(optimised: str) -> None:
    cache = f"/app/__pycache__/x.cpython-311{optimised}.pyc"
    assert found({"/app/x.py": "abc", cache: header(flags=1)}) == {cache: BytecodeKind.UNCHECKED}


def test_what_is_never_read_is_not_named() -> None:
    unchecked = header(flags=1)
    assert found({"/app/x.py": "abc", "/app/__pycache__/x.cpython-312.pyc": unchecked}) == {}
    assert found({CACHE: unchecked}) == {}
    assert found({"/app/x.py": "abc", CACHE: unchecked[:12]}) == {}
    assert found({"/app/x.py": "abc", CACHE: unchecked}, env={"PYTHONPYCACHEPREFIX": "/cache"}) == {}


def test_a_cache_elsewhere_is_found() -> None:
    cache = "/cache/app/x.cpython-311.pyc"
    files: Files = {"/app/x.py": "abc", cache: header(flags=1)}
    assert found(files, env={"PYTHONPYCACHEPREFIX": "/cache"}) == {cache: BytecodeKind.UNCHECKED}


def test_the_standard_library_and_installed_packages_are_looked_at() -> None:
    library, site = "/usr/lib/python3.11/__pycache__/os.cpython-311.pyc", f"{VENV_SITE}/np/__pycache__/__init__.cpython-311.pyc"
    files = distribution(VENV_SITE, "np", "1.0") | {library: header(flags=1), site: header(flags=1)}
    assert list(found(files)) == [site, library]


def test_byte_code_that_stands_alone_is_named_unless_a_distribution_vouches_for_it() -> None:
    assert found({"/app/x.pyc": header()}) == {"/app/x.pyc": BytecodeKind.SOURCELESS}
    assert found({"/app/x.pyc": header(), "/app/x.py": "abc"}) == {}
    path = f"{VENV_SITE}/np/x.pyc"
    for row, named in ((record_row("np/x.pyc", header()), False), (record_row("np/x.pyc", b""), True), ("np/x.pyc,,\n", True)):
        files = distribution(VENV_SITE, "np", "1.0", RECORD=row) | {path: header()}
        assert found(files) == ({path: BytecodeKind.SOURCELESS} if named else {})


def test_at_most_a_hundred_are_named() -> None:
    assert len(found({f"/app/x{n}.pyc": header() for n in range(150)})) == 100


def layered(*layers: Files) -> EntryTree:
    squash = Squash(Limits())
    base = tree(debian(), venv(), {"/app/serve.py": ""})
    for files in ({}, *layers):
        squash.apply(LayerRecord(entries={path: entry(body) for path, body in files.items()}))
    put_together = squash.tree()
    known = {path: base._entries[path] for path in base._entries if path not in put_together._entries}
    return EntryTree(known | put_together._entries)


def entry(body: Any) -> Entry:
    raw = body.encode() if isinstance(body, str) else body
    plain = Entry(FileKind.FILE, body=raw, stat=FileStat(len(raw), 0))
    return replace(plain, sha256=EntryTree({"/x": plain}).sha256("/x"))


def test_a_source_that_a_later_layer_changed_and_kept_its_time_and_size_is_not_what_runs() -> None:
    first: Files = {"/app/x.py": "abc", CACHE: header()}
    assert of(layered(first)) == {}
    assert of(layered(first, {"/app/x.py": "xyz"})) == {CACHE: BytecodeKind.STALE}
    assert of(layered(first, {"/app/x.py": "longer"})) == {}
    assert of(layered(first, {"/app/x.py": "xyz", CACHE: header() + b"2"})) == {}


def test_a_layer_that_brings_the_same_content_again_changes_nothing() -> None:
    assert of(layered({"/app/x.py": "abc", CACHE: header()}, {"/app/x.py": "abc"})) == {}


@pytest.mark.parametrize("mode", list(py_compile.PycInvalidationMode))
def test_what_the_compiler_writes_is_told_apart(tmp_path: Path, mode: py_compile.PycInvalidationMode) -> None:
    (tmp_path / "x.py").write_text("x = 1\n")
    written = py_compile.compile(str(tmp_path / "x.py"), invalidation_mode=mode, doraise=True)
    assert written is not None
    files: Files = {"/app/x.py": "x = 1\n", CACHE: Path(written).read_bytes()}
    unchecked = mode is py_compile.PycInvalidationMode.UNCHECKED_HASH
    assert found(files) == ({CACHE: BytecodeKind.UNCHECKED} if unchecked else {})
