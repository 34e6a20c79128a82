"""Somebody's own code on the path of an image, and what it keeps from running."""

import json
from typing import Any

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.describe import describe
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.catalogue.packages.modules import Finder
from lockstep.environment.catalogue.python.code import MAX_MODULES
from lockstep.environment.document import EnvironmentDocument
from lockstep.formats.canonical import sha256_of
from tests.fakes.roots import VENV_SITE, Files, To, debian, distribution, record_row, tree, venv

EXTENSION = "cpython-311-x86_64-linux-gnu.so"


def described(
    files: Files,
    *arguments: str,
    models: tuple[str, ...] = (),
    working_dir: str = "/app",
    env: dict[str, str] | None = None,
) -> EnvironmentDocument:
    launch = Launch(("/opt/venv/bin/python", *(arguments or ("/app/serve.py",))), env or {}, working_dir)
    root = tree(debian(), venv(), {"/app/serve.py": "serve"}, files)
    return describe(root, launch, machine="x86_64", collector="test", models=models)


def code(files: Files, *arguments: str, **more: Any) -> dict[str, str]:
    """Return the code beside the script itself: by import path the text of the file."""
    texts = {sha256_of(body.encode()): body for body in files.values() if isinstance(body, str)}
    found = described(files, *arguments, **more).code
    return {path: texts[digest] for path, digest in found.items() if path != "serve.py"}


def directly(name: str, **stated: Any) -> Files:
    """Return a distribution that came from somewhere else than an index."""
    return distribution(VENV_SITE, name, "1.0", direct_url__json=json.dumps({"url": "file:///x", **stated}))


def test_modules_beside_the_script_are_found_by_import_path() -> None:
    files: Files = {
        "/app/fraud/__init__.py": "a",
        "/app/fraud/features.py": "b",
        "/app/space/part.py": "namespace",
        f"/app/fraud/_fast.{EXTENSION}": "c",
        "/app/fraud/data.json": "no module",
        "/app/fraud/__pycache__/features.cpython-311.pyc": "no module",
        "/app/not-a-name/x.py": "can't be imported",
        "/app/fraud/2x.py": "can't be imported",
    }
    assert code(files) == {
        "fraud/__init__.py": "a",
        "fraud/features.py": "b",
        "fraud/_fast.so": "c",
        "space/part.py": "namespace",
    }


@pytest.mark.parametrize(
    ("others", "runs"),
    [
        ({}, "x.py"),
        ({"/app/x.pyc": "pyc"}, "x.py"),
        ({f"/app/x.{EXTENSION}": "so"}, "x.so"),
        ({"/app/x.abi3.so": "so"}, "x.so"),
        ({"/app/x.so": "so"}, "x.so"),
        ({"/app/x.cpython-310-x86_64-linux-gnu.so": "another interpreter's"}, "x.py"),
        ({"/app/x/__init__.py": "package"}, "x/__init__.py"),
        ({"/app/x/__init__.pyc": "package"}, "x/__init__.pyc"),
        ({"/app/x/other.txt": "no package"}, "x.py"),
    ],
)
def test_within_a_directory_the_file_that_the_interpreter_prefers_is_the_module(others: Files, runs: str) -> None:
    files: Files = {"/app/x.py": "source"}
    assert list(code(files | others)) == [runs]


def test_a_source_is_preferred_to_byte_code_which_is_a_module_of_its_own_where_it_stands_alone() -> None:
    assert code({"/app/x.pyc": "pyc"}) == {"x.pyc": "pyc"}


def test_the_first_on_the_path_wins_and_hides_the_whole_package() -> None:
    files: Files = {"/app/x/__init__.py": "1", "/lib2/x/__init__.py": "2", "/lib2/x/y.py": "2", "/lib2/z.py": "2"}
    assert code(files, env={"PYTHONPATH": "/lib2"}) == {"x/__init__.py": "1", "z.py": "2"}


def test_a_namespace_package_has_parts_in_many_places_and_gives_way_to_a_regular_one() -> None:
    files: Files = {"/app/x/a.py": "1", "/lib2/x/b.py": "2", "/lib2/x/a.py": "3"}
    assert code(files, env={"PYTHONPATH": "/lib2"}) == {"x/a.py": "1", "x/b.py": "2"}
    assert code(files | {"/lib2/x/__init__.py": "4"}, env={"PYTHONPATH": "/lib2"}) == {
        "x/__init__.py": "4",
        "x/a.py": "3",
        "x/b.py": "2",
    }


def test_the_working_directory_counts_for_modules() -> None:
    assert code({"/srv/own.py": "1"}, "-m", "server", working_dir="/srv") == {"own.py": "1"}
    assert code({"/srv/own.py": "1"}, "-I", "-m", "server", working_dir="/srv") == {}


def test_directories_of_path_files_count() -> None:
    assert code({f"{VENV_SITE}/x.pth": "/src\n", "/src/own.py": "1"}) == {"own.py": "1"}


def test_below_the_root_only_what_is_not_the_systems_is_walked() -> None:
    files: Files = {"/own.py": "1", "/srv/x/y.py": "2", "/usr/share/z.py": "3", "/var/z.py": "4", "/tmp/z.py": "5"}
    found = described(files, "-m", "x", working_dir="/").code
    assert sorted(found) == ["app/serve.py", "own.py", "srv/x/y.py"]


def test_what_distributions_own_is_no_ones_own_code() -> None:
    assert code(distribution(VENV_SITE, "numpy", "1.26.4") | {f"{VENV_SITE}/loose.py": "1"}) == {"loose.py": "1"}
    assert code(distribution("/libs", "numpy", "1.26.4"), env={"PYTHONPATH": "/libs"}) == {}


def test_a_file_beside_those_of_a_distribution_is_not_owned() -> None:
    files = distribution(VENV_SITE, "numpy", "1.26.4") | {f"{VENV_SITE}/numpy/evil.py": "1"}
    assert code(files) == {"numpy/evil.py": "1"}


@pytest.mark.parametrize("stated", [{"dir_info": {}}, {"archive_info": {}}, {"vcs_info": {"vcs": "git", "commit_id": "a"}}])
def test_what_came_from_a_directory_a_file_or_a_repository_is_own_code(stated: dict[str, Any]) -> None:
    assert sorted(described(directly("fraud", **stated)).code) == ["fraud/__init__.py", "serve.py"]


def test_a_wheel_file_of_too_many_modules_is_left_out_and_smaller_ones_stay() -> None:
    names = [f"m{number}" for number in range(MAX_MODULES)]
    many = "".join(record_row(f"big/{name}.py", "") for name in names)
    files = directly("fraud", archive_info={}) | distribution(
        VENV_SITE, "big", "1.0", RECORD=many, direct_url__json='{"url": "u", "archive_info": {}}'
    )
    files |= {f"{VENV_SITE}/big/{name}.py": "" for name in names}
    del files[f"{VENV_SITE}/big/__init__.py"]
    assert sorted(described(files).code) == ["fraud/__init__.py", "serve.py"]


def test_too_many_own_modules_are_refused() -> None:
    # One more than there may be: the server's own script is one of them.
    files: Files = {f"/app/m{number}.py": "" for number in range(MAX_MODULES)}
    with pytest.raises(CatalogueError) as caught:
        described(files)
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


def test_directories_that_lie_too_deep_are_refused() -> None:
    with pytest.raises(CatalogueError) as caught:
        described({"/app" + "/x" * 150 + "/y.py": ""})
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


def test_links_in_a_circle_end() -> None:
    assert code({"/app/a/x.py": "1", "/app/a/up": To(".."), "/app/a/self": To("."), "/app/round": To("round")}) == {
        "a/x.py": "1"
    }


def test_links_between_directories_do_not_multiply_without_bound() -> None:
    names = [f"d{n}" for n in range(12)]
    files: Files = {f"/app/{a}/{b}": To(f"../{b}") for a in names for b in names if a != b}
    with pytest.raises(CatalogueError) as caught:
        list(Finder(tree(files), ["/app"], "3.11").modules())
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


def test_a_linked_module_is_the_file_that_it_leads_to() -> None:
    assert code({"/app/x.py": To("/store/x"), "/store/x": "1"}) == {"x.py": "1"}


def test_egg_info_owns_by_its_list_or_else_by_its_names() -> None:
    egg: Files = {f"{VENV_SITE}/old-1.0.egg-info/PKG-INFO": "Name: old\nVersion: 1.0\n", f"{VENV_SITE}/old/a.py": "1"}
    names: Files = {f"{VENV_SITE}/old-1.0.egg-info/top_level.txt": "other\n", f"{VENV_SITE}/other.py": "2"}
    listed: Files = {f"{VENV_SITE}/old-1.0.egg-info/installed-files.txt": "../old/a.py\n", f"{VENV_SITE}/old/b.py": "3"}
    assert code(egg) == {}
    assert code(egg | names) == {"old/a.py": "1"}
    assert code(egg | listed) == {"old/b.py": "3"}


def test_what_dpkg_installed_is_not_own_code() -> None:
    launch = Launch(("/usr/bin/python3", "/app/serve.py"), {}, "/app")
    root = tree(debian(), {"/app/serve.py": "", "/usr/lib/python3/dist-packages/apt.py": ""})
    assert list(describe(root, launch, machine="x86_64", collector="test").code) == ["serve.py"]


def test_hooks_and_what_editable_installs_write_are_not_code() -> None:
    assert code({"/app/sitecustomize.py": "1", f"{VENV_SITE}/__editable___x_finder.py": "2"}) == {}


MODEL: Files = {"/m/code/fraud/__init__.py": "m", "/m/code/fraud/features.py": "m2"}


def test_the_code_of_a_logged_model_comes_first() -> None:
    files = MODEL | {"/app/fraud/__init__.py": "a", "/app/fraud/hidden.py": "a2", "/app/other.py": "a3"}
    assert code(files, models=("/m",)) == {"fraud/__init__.py": "m", "fraud/features.py": "m2", "other.py": "a3"}


def test_what_models_disagree_on_is_left_out() -> None:
    files = MODEL | {"/n/code/fraud/__init__.py": "m", "/n/code/fraud/features.py": "n2", "/app/own.py": "a"}
    assert code(files, models=("/m", "/n")) == {"fraud/__init__.py": "m", "own.py": "a"}


def shadows(files: Files, **more: Any) -> dict[str, tuple[str, str | None]]:
    found = described(files, **more).shadows or {}
    return {name: (shadow.file, shadow.package) for name, shadow in found.items()}


@pytest.mark.parametrize("path", ["/app/numpy.py", "/app/numpy/__init__.py"])
def test_a_module_before_an_installed_package_shadows_it(path: str) -> None:
    found = described(distribution(VENV_SITE, "numpy", "1.26.4") | {path: "1"})
    assert found.shadows is not None
    assert (found.shadows["numpy"].file, found.shadows["numpy"].package) == (path, "numpy")
    assert found.shadows["numpy"].sha256 == found.code[path.removeprefix("/app/")] == sha256_of(b"1")


def test_a_module_before_the_standard_librarys_shadows_it() -> None:
    assert shadows({"/app/random.py": "1", "/usr/lib/python3.11/random.py": "2"}) == {"random": ("/app/random.py", None)}


def test_what_does_not_run_shadows_nothing() -> None:
    numpy = distribution(VENV_SITE, "numpy", "1.26.4")
    assert shadows(numpy | {"/app/numpy/data.txt": "1"}) == {}
    assert shadows(numpy | {f"{VENV_SITE}/z.pth": "/late\n", "/late/numpy.py": "1"}) == {}
    assert shadows({"/app/test/__init__.py": "1", "/usr/lib/python3.11/test/__init__.py": "2"}) == {}
    newer = distribution("/libs", "numpy", "2.0.0")
    assert shadows(numpy | newer, env={"PYTHONPATH": "/libs"}) == {}


def test_the_code_of_a_model_can_shadow() -> None:
    files = distribution(VENV_SITE, "numpy", "1.26.4") | {"/m/code/numpy.py": "1"}
    assert shadows(files, models=("/m",)) == {"numpy": ("/m/code/numpy.py", "numpy")}


def test_modules_among_the_installed_ones_that_no_distribution_brought_are_told() -> None:
    files = distribution(VENV_SITE, "numpy", "1.26.4") | directly("mine", dir_info={}) | {"/app/own.py": "application"}
    files |= {f"{VENV_SITE}/numpy/evil.py": "1", f"{VENV_SITE}/loose.{EXTENSION}": "2", f"{VENV_SITE}/notes.txt": "3"}
    assert described(files).unowned == {"loose.so": sha256_of(b"2"), "numpy/evil.py": sha256_of(b"1")}


@pytest.mark.parametrize(
    ("beside", "name"),
    [
        (f"numpy/core.{EXTENSION}", "numpy.core"),
        ("numpy/core/__init__.py", "numpy.core"),
        ("numpy/__init__.abi3.so", "numpy"),
    ],
)
def test_a_file_beside_a_packages_own_that_the_interpreter_prefers_shadows_it(beside: str, name: str) -> None:
    record = record_row("numpy/core.py", "own") + record_row("numpy/__init__.py", "VERSION = '1.0'\n")
    files = distribution(VENV_SITE, "numpy", "1.0", RECORD=record) | {f"{VENV_SITE}/numpy/core.py": "own"}
    assert shadows(files) == {}
    assert shadows(files | {f"{VENV_SITE}/{beside}": "evil"}) == {name: (f"{VENV_SITE}/{beside}", "numpy")}
