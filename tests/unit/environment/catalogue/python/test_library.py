"""What in the library of an image's interpreter is not its own."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.describe import describe
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.catalogue.packages.filelists import apk_files, md5sums
from lockstep.environment.document import LibraryKind
from lockstep.environment.tree import Entry, EntryTree, FileStat
from tests.fakes.roots import Files, debian, elf, entries, venv
from tests.fakes.rpm import database, package

LIB = "/usr/lib/python3.11"
OWN: Files = {
    **{f"{LIB}/{name}.py": name for name in ("os", "json/__init__", "json/decoder", "site2", "re", "abc", "enum", "ast", "io")},
    f"{LIB}/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so": b"ssl",
    f"{LIB}/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so": b"json",
}
PYTHON: Files = {"/usr/bin/python3.11": elf()}


def md5(files: Mapping[str, Any]) -> str:
    rows = ((hashlib.md5(_bytes(body)).hexdigest(), path[1:]) for path, body in files.items())
    return "".join(f"{digest}  {path}\n" for digest, path in rows)


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body)


def lists(files: Files | None = None, name: str = "libpython3.11-stdlib:amd64") -> Files:
    return {f"/var/lib/dpkg/info/{name}.md5sums": md5(OWN | PYTHON if files is None else files)}


def found(files: Files, executable: str = "/usr/bin/python3") -> dict[str, LibraryKind] | None:
    return library_of(entries(debian(), OWN, files), executable)


def library_of(
    made: dict[str, Entry], executable: str = "/usr/bin/python3", layers: Mapping[str, tuple[int, int]] | None = None
) -> dict[str, LibraryKind] | None:
    for path, (layer, put) in (layers or {}).items():
        stat = made[path].stat or FileStat(0, 0)
        made[path] = replace(made[path], stat=replace(stat, layer=layer, put=put))
    launch = Launch((executable, "/app/serve.py"), {})
    return describe(EntryTree(made), launch, machine="x86_64", collector="x").library


def test_the_library_that_dpkgs_lists_name_is_the_interpreters_own() -> None:
    assert found(lists()) is None


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({f"{LIB}/json/__init__.py": "evil"}, {f"{LIB}/json/__init__.py": LibraryKind.CHANGED}),
        ({f"{LIB}/evil.py": ""}, {f"{LIB}/evil.py": LibraryKind.ADDED}),
        ({f"{LIB}/json/decoder/__init__.py": ""}, {f"{LIB}/json/decoder/__init__.py": LibraryKind.ADDED}),
        (
            {f"{LIB}/lib-dynload/_x.cpython-311-x86_64-linux-gnu.so": b""},
            {f"{LIB}/lib-dynload/_x.cpython-311-x86_64-linux-gnu.so": LibraryKind.ADDED},
        ),
        ({"/usr/bin/python3.11": elf() + b"more"}, {"/usr/bin/python3.11": LibraryKind.CHANGED}),
    ],
)
def test_what_is_not_as_its_package_states_is_named(files: Files, named: dict[str, LibraryKind]) -> None:
    assert found(lists() | files) == named


def test_what_distributions_of_debian_do_with_the_library_is_fine() -> None:
    files = lists() | lists({f"{LIB}/tkinter/__init__.py": "tk"}, "python3-tk:amd64")
    files |= {
        f"{LIB}/tkinter/__init__.py": "tk",
        f"{LIB}/test/support.py": "left behind by nobody",
        f"{LIB}/json/__pycache__/decoder.cpython-311.pyc": b"",
        f"{LIB}/sitecustomize.py": "compared as a hook",
        f"{LIB}/EXTERNALLY-MANAGED": "",
        f"{LIB}/site-packages/pip/__init__.py": "",
        f"{LIB}/dist-packages/x.py": "",
    }
    assert found(files) is None
    gone = entries(debian(), {path: body for path, body in OWN.items() if "json" not in path}, lists())
    assert library_of(gone) is None


def test_an_upgrade_changes_files_and_their_list_together() -> None:
    newer = {**OWN, **PYTHON, f"{LIB}/re.py": "newer"}
    layers = {f"{LIB}/re.py": (3, 3)}
    assert library_of(entries(debian(), newer, lists(newer)), layers=layers) is None


def test_distroless_images_keep_the_lists_beside_the_status() -> None:
    files = {f"/var/lib/dpkg/status.d/{name}.md5sums": body for name, body in (("python3.11", md5(OWN | PYTHON)),)}
    assert found({**files, f"{LIB}/re.py": "evil"}) == {f"{LIB}/re.py": LibraryKind.CHANGED}


def test_a_list_that_is_none_is_refused() -> None:
    with pytest.raises(CatalogueError) as caught:
        list(md5sums(b"no digest\n", "/x"))
    assert caught.value.reason is Reason.SYSTEM_UNVERIFIABLE


def test_a_package_of_debian_that_was_edited_is_named() -> None:
    module = "/usr/lib/python3/dist-packages/yaml/__init__.py"
    files = lists() | lists({module: "yaml"}, "python3-yaml")
    assert found(files | {module: "yaml"}) is None
    assert found(files | {module: "evil"}) == {module: LibraryKind.CHANGED}


def without_dpkg() -> dict[str, Entry]:
    return {path: entry for path, entry in entries(debian(), OWN).items() if "dpkg" not in path}


def test_alpines_database_states_digests_of_the_librarys_files() -> None:
    def row(path: str, body: Any) -> str:
        folder, _, name = path[1:].rpartition("/")
        return f"F:{folder}\nR:{name}\nZ:Q1{base64.b64encode(hashlib.sha1(_bytes(body)).digest()).decode()}\n"

    text = "P:python3\nV:3.11.2-r0\nA:x86_64\n" + "".join(row(path, body) for path, body in (OWN | PYTHON).items())
    made = without_dpkg() | entries({"/usr/lib/apk/db/installed": text})
    assert library_of(dict(made)) is None
    made |= entries({f"{LIB}/re.py": "evil", f"{LIB}/new.py": ""})
    assert library_of(made) == {f"{LIB}/re.py": LibraryKind.CHANGED, f"{LIB}/new.py": LibraryKind.ADDED}


def test_condas_record_states_the_files_as_they_are_with_their_prefix() -> None:
    root = "/opt/conda"
    files: Files = {f"{root}/lib/python3.11/{name}.py": name for name in ("os", "re", "sysconfig")}
    files |= {f"{root}/bin/python3.11": elf(), f"{root}/bin/python3": elf()}
    stated = {path: body for path, body in files.items() if not path.endswith("bin/python3")}
    paths = [
        {
            "_path": path.removeprefix(f"{root}/"),
            "sha256": "0" * 64,
            "sha256_in_prefix": hashlib.sha256(_bytes(body)).hexdigest(),
        }
        for path, body in {**stated, f"{root}/bin/python3": elf()}.items()
    ]
    record = {"name": "python", "version": "3.11.2", "build": "h1_0", "paths_data": {"paths": paths}}
    files[f"{root}/conda-meta/python-3.11.2-h1_0.json"] = json.dumps(record)
    assert library_of(entries(files), f"{root}/bin/python3") is None
    edited = entries(files, {f"{root}/lib/python3.11/re.py": "evil", f"{root}/lib/python3.11/new.py": ""})
    assert library_of(edited, f"{root}/bin/python3") == {
        f"{root}/lib/python3.11/re.py": LibraryKind.CHANGED,
        f"{root}/lib/python3.11/new.py": LibraryKind.ADDED,
    }


def test_rpms_headers_state_digests_of_the_librarys_files() -> None:
    stated = OWN | PYTHON
    blob = package(
        "python3-libs", "3.11.2", "1", files={path: hashlib.sha256(_bytes(b)).hexdigest() for path, b in stated.items()}
    )
    made = without_dpkg() | entries({"/var/lib/rpm/rpmdb.sqlite": database(blob)})
    # Fedora's interpreter has its packages in site-packages, which this tree has none of.
    made.pop("/usr/lib/python3/dist-packages")
    assert library_of(dict(made)) is None
    made |= entries({f"{LIB}/re.py": "evil"})
    assert library_of(made) == {f"{LIB}/re.py": LibraryKind.CHANGED}


LAYERED = {path: (1, 1) for path in (*OWN, *PYTHON)}


def layered(changes: Files, layers: Mapping[str, tuple[int, int]]) -> dict[str, LibraryKind] | None:
    """Return what is named where no package but layer 1 brought the library."""
    return library_of(entries(debian(), OWN, PYTHON, changes), layers={**LAYERED, **layers})


def test_where_no_package_brought_it_the_layer_that_did_is_what_counts() -> None:
    assert layered({}, {}) is None
    assert layered({f"{LIB}/re.py": "evil"}, {f"{LIB}/re.py": (2, 2)}) == {f"{LIB}/re.py": LibraryKind.LATER}
    assert layered({f"{LIB}/new.py": ""}, {f"{LIB}/new.py": (2, 2)}) == {f"{LIB}/new.py": LibraryKind.LATER}


def test_what_a_later_layer_holds_with_the_same_content_is_no_change() -> None:
    assert layered({}, {f"{LIB}/re.py": (1, 4)}) is None
    assert layered({}, {path: (1, 4) for path in LAYERED}) is None


def test_the_library_copied_again_with_another_module_among_it_is_named() -> None:
    again = {path: (1, 4) for path in LAYERED}
    assert layered({f"{LIB}/re.py": "evil"}, {**again, f"{LIB}/re.py": (4, 4)}) == {f"{LIB}/re.py": LibraryKind.LATER}
    assert layered({f"{LIB}/new.py": ""}, {**again, f"{LIB}/new.py": (4, 4)}) == {f"{LIB}/new.py": LibraryKind.LATER}


def test_another_interpreter_in_a_later_layer_is_that_layers_own() -> None:
    # Only some of the files of a new patch version differ from the old one's.
    newer = {path: (1, 4) for path in LAYERED} | {f"{LIB}/re.py": (4, 4), "/usr/bin/python3.11": (4, 4)}
    assert layered({f"{LIB}/re.py": "newer"}, newer) is None
    assert layered({}, {path: (4, 4) for path in LAYERED}) is None
    # The same version built once more: only what was compiled differs.
    rebuilt = {path: (4, 4) if "dynload" in path else (1, 4) for path in LAYERED}
    assert layered({}, rebuilt) is None


def test_a_library_in_one_layer_and_its_interpreter_in_another_are_fine() -> None:
    assert layered({}, {"/usr/bin/python3.11": (3, 3)}) is None
    assert layered({}, {path: (3, 3) for path in OWN}) is None


def test_an_environments_copy_of_the_interpreter_has_to_be_its_bases() -> None:
    copied = venv() | {"/opt/venv/bin/python3": elf()}
    assert found(lists() | copied, "/opt/venv/bin/python3") is None
    patched = copied | {"/opt/venv/bin/python3": elf() + b"more"}
    assert found(lists() | patched, "/opt/venv/bin/python3") == {"/opt/venv/bin/python3": LibraryKind.CHANGED}


@pytest.mark.parametrize("checksum", [b"Q1!!!", b"Q12jmj7l5rSo0yV\x82b/vlWAYkK/YBwk="], ids=["no base64", "no ASCII"])
def test_a_checksum_of_apk_that_is_none_is_named(checksum: bytes) -> None:
    body = b"P:python3\nF:usr/lib/python3.11\nR:os.py\nZ:" + checksum + b"\n"
    with pytest.raises(CatalogueError, match=r"the checksum of '/usr/lib/python3\.11/os\.py' is none"):
        list(apk_files(body, "installed"))
