"""The interpreter's version and where it looks for packages."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.binaries.elf import python_version
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.follow import follow_launch
from lockstep.environment.catalogue.launch.interpreter import Prefix, interpreter, prefix, search_path
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.tree import EntryTree
from tests.fakes.roots import VENV_SITE, Files, To, debian, elf, tree, venv

STDLIB = ("/usr/lib/python3.11", "/usr/lib/python3.11/lib-dynload")
DIST = "/usr/lib/python3/dist-packages"


def where(files: EntryTree, launch: Launch) -> Prefix:
    return prefix(files, follow_launch(files, launch))


def paths(*argv: str, files: Files | None = None, env: dict[str, str] | None = None, user: str = "") -> tuple[str, ...]:
    root = tree(debian(), venv(), files or {})
    launch = Launch(argv, env or {}, "/", user)
    start = follow_launch(root, launch)
    return search_path(root, prefix(root, start), start)


def refused(*argv: str, files: Files | None = None, env: dict[str, str] | None = None) -> Reason:
    with pytest.raises(CatalogueError) as caught:
        paths(*argv, files=files, env=env)
    return caught.value.reason


def version(files: Files, *argv: str) -> str:
    root = tree(files)
    return interpreter(root, where(root, Launch(argv or ("python3",), {}))).version


def test_a_virtual_environment_shows_its_own_packages_only() -> None:
    assert paths("/opt/venv/bin/python") == (*STDLIB, VENV_SITE)


def test_a_virtual_environment_may_show_the_systems_packages_after_its_own() -> None:
    found = paths("/opt/venv/bin/python", files=venv(system_site=True))
    assert found == (*STDLIB, VENV_SITE, DIST)


def test_debians_interpreter_looks_into_dist_packages_and_not_into_site_packages() -> None:
    files: Files = {"/usr/local/lib/python3.11/dist-packages": None, "/usr/lib/python3.11/site-packages": None}
    assert paths("python3", files=files) == (*STDLIB, "/usr/local/lib/python3.11/dist-packages", DIST)


def test_debians_interpreter_is_told_by_its_own_site_module_and_layout_and_not_by_dpkgs_database() -> None:
    files: Files = {"/usr/local/lib/python3.11/dist-packages": None, "/usr/lib/python3.11/site-packages": None}
    bare = {path: body for path, body in debian().items() if "dpkg" not in path}
    launch = Launch(("/usr/bin/python3",), {})

    def found(more: Files) -> tuple[str, ...]:
        root = tree(bare, files, more)
        start = follow_launch(root, launch)
        return search_path(root, prefix(root, start), start)

    debians = (*STDLIB, "/usr/local/lib/python3.11/dist-packages", DIST)
    assert found({}) == debians
    assert found({"/usr/lib/python3.11/site.py": "# dist-packages\n"}) == debians
    assert found({"/usr/lib/python3.11/site.py": "# site-packages\n"}) == (*STDLIB, "/usr/lib/python3.11/site-packages")


def test_an_interpreter_elsewhere_looks_into_site_packages() -> None:
    files: Files = {
        "/usr/local/bin/python3.12": elf(0x030C01F0),
        "/usr/local/lib/python3.12/os.py": "",
        "/usr/local/lib/python3.12/site-packages": None,
    }
    assert paths("python3.12", files=files) == ("/usr/local/lib/python3.12", "/usr/local/lib/python3.12/site-packages")


def test_the_scripts_directory_and_the_python_path_come_first() -> None:
    files: Files = {"/app/serve.py": "", "/extra": None}
    found = paths("python3", "/app/serve.py", files=files, env={"PYTHONPATH": "/extra:relative:"})
    assert found == ("/app", "/extra", "/", *STDLIB, DIST)


def test_directories_that_do_not_exist_are_not_on_the_path() -> None:
    assert paths("python3", "/gone/serve.py", env={"PYTHONPATH": "/gone"}) == (*STDLIB, DIST)


@pytest.mark.parametrize("option", ["-I", "-E", "-IS", "-uE"])
def test_an_isolated_interpreter_does_not_read_the_python_path(option: str) -> None:
    assert "/extra" not in paths("python3", option, "-c", "pass", files={"/extra": None}, env={"PYTHONPATH": "/extra"})


@pytest.mark.parametrize(("option", "env"), [("-I", ""), ("-P", ""), ("-u", "PYTHONSAFEPATH")])
def test_a_safe_path_leaves_the_scripts_directory_out(option: str, env: str) -> None:
    files: Files = {"/app/serve.py": ""}
    assert "/app" not in paths("python3", option, "/app/serve.py", files=files, env={env: "1"} if env else {})


def test_without_site_there_are_no_site_packages() -> None:
    assert paths("python3", "-S", "-c", "pass") == ("/", *STDLIB)


@pytest.mark.parametrize(
    ("env", "user", "home"),
    [
        ({}, "", "/root"),
        ({}, "1000", "/home/app"),
        ({}, "app:app", "/home/app"),
        ({"HOME": "/h"}, "1000", "/h"),
        ({}, "4242", ""),
    ],
)
def test_the_users_packages_come_before_the_systems(env: dict[str, str], user: str, home: str) -> None:
    site = f"{home}/.local/lib/python3.11/site-packages"
    assert paths("python3", files={site: None}, env=env, user=user) == (*STDLIB, site, DIST)


@pytest.mark.parametrize(("option", "env"), [("-s", {}), ("-I", {}), ("-u", {"PYTHONNOUSERSITE": "1"})])
def test_the_users_packages_can_be_switched_off(option: str, env: dict[str, str]) -> None:
    site = "/root/.local/lib/python3.11/site-packages"
    assert site not in paths("python3", option, "-c", "pass", files={site: None}, env=env)


@pytest.mark.parametrize("options", [(), ("-E",), ("-s",), ("-I",)])
def test_the_users_packages_are_where_the_real_interpreter_says(options: tuple[str, ...], tmp_path: Path) -> None:
    base = str(tmp_path)
    site = tmp_path / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    site.mkdir(parents=True)
    asked = [sys._base_executable, *options, "-c", "import json, sys; print(json.dumps(sys.path))"]  # type: ignore[attr-defined]
    real = json.loads(subprocess.run(asked, env={"PYTHONUSERBASE": base}, check=True, capture_output=True).stdout)
    scanned = f"{base}/lib/python3.11/site-packages"
    found = paths("python3", *options, "-c", "pass", files={scanned: None}, env={"PYTHONUSERBASE": base})
    assert (scanned in found) == (str(site) in real)


def test_a_relative_base_of_the_users_packages_is_refused() -> None:
    assert refused("python3", env={"PYTHONUSERBASE": "packages"}) is Reason.INTERPRETER_AMBIGUOUS


def test_path_files_add_directories_in_their_order() -> None:
    body = "# comment\nimport evil\n../sibling\n/src/app\n\n/absent\nimport\tevil\n"
    files: Files = {f"{VENV_SITE}/b.pth": "/late\n", f"{VENV_SITE}/a.pth": body, "/src/app": None, "/late": None}
    files["/opt/venv/lib/python3.11/sibling"] = None
    files[f"{VENV_SITE}/.hidden.pth"] = "/hidden\n"
    files["/hidden"] = None
    found = paths("/opt/venv/bin/python", files=files)
    assert found == (*STDLIB, VENV_SITE, "/opt/venv/lib/python3.11/sibling", "/src/app", "/late")


def test_a_directory_that_is_reached_twice_counts_where_it_comes_first() -> None:
    files: Files = {"/again": To(VENV_SITE)}
    assert paths("/opt/venv/bin/python", files=files, env={"PYTHONPATH": "/again"}) == (VENV_SITE, *STDLIB)


@pytest.mark.parametrize("variable", ["PYTHONHOME", "PYTHONPLATLIBDIR"])
def test_variables_that_move_the_library_are_refused(variable: str) -> None:
    assert refused("python3", env={variable: "/evil"}) is Reason.INTERPRETER_AMBIGUOUS


def test_archives_on_the_path_keep_their_place() -> None:
    found = paths("python3", files={"/x.egg": b"PK", "/usr/lib/python311.zip": b"PK"}, env={"PYTHONPATH": "/x.egg"})
    assert found == ("/x.egg", "/usr/lib/python311.zip", *STDLIB, DIST)


def test_a_virtual_environment_with_a_copied_interpreter_finds_its_base() -> None:
    files = venv() | {"/opt/venv/bin/python3": elf()}
    assert paths("/opt/venv/bin/python3", files=files) == (*STDLIB, VENV_SITE)


def test_a_virtual_environment_takes_the_base_that_its_home_names() -> None:
    files = venv(system_site=True, home="/evil/bin")
    files |= {"/evil/bin": None, "/evil/lib/python3.11/os.py": "", "/evil/lib/python3.11/site-packages": None}
    found = paths("/opt/venv/bin/python", files=files)
    assert found == ("/evil/lib/python3.11", VENV_SITE, "/evil/lib/python3.11/site-packages")


def test_a_virtual_environment_whose_base_can_not_be_told_is_refused() -> None:
    assert refused("/opt/venv/bin/python", files={"/opt/venv/pyvenv.cfg": "x = y\n"}) is Reason.INTERPRETER_AMBIGUOUS
    twice: Files = {"/opt/venv/bin/pyvenv.cfg": "home = /usr/bin\n"}
    assert refused("/opt/venv/bin/python", files=twice) is Reason.INTERPRETER_AMBIGUOUS
    gone: Files = {"/opt/venv/pyvenv.cfg": "home = /gone/bin\n", "/lib": None}
    assert refused("/opt/venv/bin/python", files=gone) is Reason.INTERPRETER_NOT_FOUND


def test_an_interpreter_without_standard_library_is_refused() -> None:
    assert refused("/x/python3", files={"/x/python3": elf(), "/lib": None}) is Reason.INTERPRETER_NOT_FOUND


def rhel() -> Files:
    return {
        "/usr/bin/python3": To("python3.11"),
        "/usr/bin/python3.11": elf(),
        "/usr/lib64/python3.11/os.py": "",
        "/usr/lib64/python3.11/lib-dynload": None,
        "/usr/lib64/python3.11/site-packages": None,
        "/usr/lib/python3.11/site-packages": None,
    }


def rhel_paths(files: Files, *argv: str) -> tuple[str, ...]:
    root = tree(rhel(), files)
    start = follow_launch(root, Launch(argv, {}))
    return search_path(root, prefix(root, start), start)


RHEL_STDLIB = ("/usr/lib64/python3.11", "/usr/lib64/python3.11/lib-dynload")
RHEL_SITES = ("/usr/lib64/python3.11/site-packages", "/usr/lib/python3.11/site-packages")


def test_red_hats_interpreter_looks_into_lib64_and_lib() -> None:
    assert rhel_paths({}, "python3") == (*RHEL_STDLIB, *RHEL_SITES)


def test_red_hats_interpreter_looks_into_usr_local_first() -> None:
    local = "/usr/local/lib/python3.11/site-packages"
    files: Files = {f"{local}/x.py": ""}
    assert rhel_paths(files, "python3") == (*RHEL_STDLIB, local, *RHEL_SITES)
    with pytest.raises(CatalogueError) as caught:
        rhel_paths(files, "python3", "-s", "x.py")
    assert caught.value.reason is Reason.INTERPRETER_AMBIGUOUS


def test_a_virtual_environment_of_red_hats_has_both() -> None:
    files = venv() | {"/opt/venv/lib64/python3.11/site-packages": None}
    found = rhel_paths(files, "/opt/venv/bin/python")
    assert found == (*RHEL_STDLIB, "/opt/venv/lib64/python3.11/site-packages", VENV_SITE)
    linked = rhel_paths(venv() | {"/opt/venv/lib64": To("lib")}, "/opt/venv/bin/python")
    assert linked == (*RHEL_STDLIB, VENV_SITE)


def test_two_standard_libraries_of_one_prefix_are_ambiguous() -> None:
    with pytest.raises(CatalogueError) as caught:
        rhel_paths({"/usr/lib/python3.11/os.py": ""}, "python3")
    assert caught.value.reason is Reason.INTERPRETER_AMBIGUOUS


def elsewhere(root: Files, *argv: str, env: dict[str, str] | None = None) -> tuple[str, ...]:
    files = tree(debian(), root)
    start = follow_launch(files, Launch(argv, env or {}))
    return search_path(files, prefix(files, start), start)


def test_pypy_has_its_own_library() -> None:
    header = '#define PY_VERSION "3.10.14"\n#define PYPY_VERSION "7.3.17"\n'
    files: Files = {
        "/opt/pypy/bin/python3": To("pypy3.10"),
        "/opt/pypy/bin/pypy3.10": b"\x7fELF",
        "/opt/pypy/lib/pypy3.10/os.py": "",
        "/opt/pypy/lib/pypy3.10/site-packages": None,
        "/opt/pypy/lib/python3.10/os.py": "",
        "/opt/pypy/include/pypy3.10/patchlevel.h": header,
    }
    assert elsewhere(files, "/opt/pypy/bin/python3") == ("/opt/pypy/lib/pypy3.10", "/opt/pypy/lib/pypy3.10/site-packages")
    root = tree(files)
    found = interpreter(root, where(root, Launch(("/opt/pypy/bin/python3",), {})))
    assert (found.implementation, found.version) == ("pypy", "3.10.14")


def test_an_interpreter_of_uv_is_found_from_its_environment() -> None:
    home = "/root/.local/share/uv/python/cpython-3.12.1-linux-x86_64-gnu"
    files: Files = {
        f"{home}/bin/python3.12": elf(0x030C01F0),
        f"{home}/lib/python3.12/os.py": "",
        "/app/.venv/bin/python": To(f"{home}/bin/python3.12"),
        "/app/.venv/pyvenv.cfg": f"home = {home}/bin\nimplementation = CPython\nuv = 0.5\n",
        "/app/.venv/lib/python3.12/site-packages": None,
    }
    assert elsewhere(files, "/app/.venv/bin/python") == (f"{home}/lib/python3.12", "/app/.venv/lib/python3.12/site-packages")


def test_pyenvs_version_is_found_where_the_path_names_it_and_not_through_a_shim() -> None:
    root = "/root/.pyenv"
    files: Files = {
        f"{root}/versions/3.12.1/bin/python": To("python3.12"),
        f"{root}/versions/3.12.1/bin/python3.12": elf(0x030C01F0),
        f"{root}/versions/3.12.1/lib/python3.12/os.py": "",
        f"{root}/shims/python": '#!/usr/bin/env bash\nset -e\nexec "/root/.pyenv/libexec/pyenv" exec "python" "$@"\n',
        "/usr/bin/bash": b"\x7fELF",
    }
    path = f"{root}/versions/3.12.1/bin:{root}/shims:/usr/bin"
    assert elsewhere(files, "python", env={"PATH": path}) == (f"{root}/versions/3.12.1/lib/python3.12",)
    with pytest.raises(CatalogueError) as caught:
        elsewhere(files, "python", env={"PATH": f"{root}/shims:/usr/bin"})
    assert caught.value.reason is Reason.INTERPRETER_AMBIGUOUS
    assert "pyenv" in caught.value.message


def test_packages_installed_into_a_target_are_found_by_the_python_path() -> None:
    files: Files = {"/deps/x-1.0.dist-info/METADATA": "Name: x\nVersion: 1.0\n", "/usr/bin/python311._pth": "/evil\n"}
    files["/evil"] = None
    assert elsewhere(files, "python3", "-m", "x", env={"PYTHONPATH": "/deps"})[:2] == ("/", "/deps")
    assert "/evil" not in elsewhere(files, "python3", "-m", "x", env={"PYTHONPATH": "/deps"})


def test_the_binary_states_the_version() -> None:
    assert version(debian()) == "3.11.2"


def test_a_shared_library_states_it_where_the_binary_does_not() -> None:
    files = debian() | {"/usr/bin/python3.11": b"\x7fELF", "/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0": elf(0x030B07F0)}
    assert version(files) == "3.11.7"


def test_the_header_states_it_where_no_binary_does() -> None:
    header = '#define PY_MAJOR_VERSION 3\n#define PY_VERSION      "3.11.4+"\n'
    files = debian() | {"/usr/bin/python3.11": b"\x7fELF", "/usr/include/python3.11/patchlevel.h": header}
    assert version(files) == "3.11.4"


def test_the_package_database_states_it_where_nothing_else_does() -> None:
    status = "Package: python3.11-minimal\nStatus: install ok installed\nVersion: 3.11.2-6+deb12u4\n\nPackage: x\nVersion: 9\n"
    assert version(debian() | {"/usr/bin/python3.11": b"\x7fELF", "/var/lib/dpkg/status": status}) == "3.11.2"


def test_the_package_database_is_not_read_across_packages() -> None:
    status = "Package: python3.11-minimal\nStatus: deinstall ok config-files\n\nPackage: x\nVersion: 3.11.9\n"
    with pytest.raises(CatalogueError):
        version(debian() | {"/usr/bin/python3.11": b"\x7fELF", "/var/lib/dpkg/status": status})


def test_a_version_of_another_series_than_the_library_is_refused() -> None:
    with pytest.raises(CatalogueError) as caught:
        version(debian() | {"/usr/bin/python3.11": elf(0x030C01F0)})
    assert caught.value.reason is Reason.INTERPRETER_NOT_FOUND


def test_a_prerelease_is_written_as_python_writes_it() -> None:
    assert python_version(elf(0x030F00A5)) == "3.15.0a5"
    assert python_version(elf(0x030F00C1)) == "3.15.0rc1"


def test_the_python_of_this_machine_states_its_own_version() -> None:
    shared = Path(sysconfig.get_config_var("LIBDIR") or "") / str(sysconfig.get_config_var("INSTSONAME"))
    binary = shared if shared.is_file() else Path(sys.executable).resolve()
    assert python_version(binary.read_bytes()) == sys.version.split()[0].rstrip("+")


@pytest.mark.parametrize("at", range(0x10, 0xF0, 4))
def test_a_broken_binary_states_nothing_and_does_no_harm(at: int) -> None:
    body = elf()
    for value in (b"\xff" * 8, bytes(8)):
        python_version(body[:at] + value + body[at + 8 :])
        python_version(body[:at])
    assert python_version(elf(0x030B0215)) is None
