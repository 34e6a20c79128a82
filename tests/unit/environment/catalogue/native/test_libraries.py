"""Which shared libraries a package's objects do not find."""

from typing import Any

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.binaries.sharedobject import SharedObject, Undetermined
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.native.libraries import Libraries
from lockstep.environment.catalogue.packages.distributions import find_distributions
from lockstep.environment.catalogue.packages.packages import packages
from lockstep.environment.tree import Entry, EntryTree, FileKind
from tests.fakes.roots import VENV_SITE, Files, To, debian, distribution, entries, shared, tree, venv

LIB = "/usr/lib/x86_64-linux-gnu"
SITE = VENV_SITE
PYTHON = "/opt/venv/bin/python3"
LIBC = {f"{LIB}/libc.so.6": shared(soname="libc.so.6") + b"GNU C Library (Debian) stable release version 2.36.\n"}
GOMP: Files = {
    f"{LIB}/libgomp.so.1": To("libgomp.so.1.0.0"),
    f"{LIB}/libgomp.so.1.0.0": shared("libc.so.6", soname="libgomp.so.1"),
}
MUSL: Files = {
    "/usr/bin/python3.11": shared("libc.musl-x86_64.so.1"),
    "/opt/venv/bin/python3": To("/usr/bin/python3.11"),
    "/lib/ld-musl-x86_64.so.1": shared(soname="libc.musl-x86_64.so.1") + b"1.2.5\0",
}


def root() -> Files:
    return debian() | venv() | LIBC | {"/usr/bin/python3.11": shared("libm.so.6", "libc.so.6"), f"{LIB}/libm.so.6": shared()}


def package(name: str, objects: dict[str, bytes], requires: str = "") -> Files:
    """Return a distribution whose RECORD names its objects, given by path in the site directory."""
    record = "".join(f"{path},,\n" for path in objects)
    metadata = f"Name: {name}\nVersion: 1.0\n{requires}"
    files: Files = {f"{SITE}/{path}": body for path, body in objects.items()}
    return distribution(SITE, name, "1.0", RECORD=record, METADATA=metadata) | files


def lightgbm(*needed: str, **parts: Any) -> Files:
    return package("lightgbm", {"lightgbm/lib/lib_lightgbm.so": shared(*(needed or ("libgomp.so.1", "libc.so.6")), **parts)})


def missing(*parts: Files, env: dict[str, str] | None = None, base: Files | None = None) -> dict[str, tuple[str, ...]]:
    return found(tree(base if base is not None else root(), *parts), env)


def found(files: EntryTree, env: dict[str, str] | None = None) -> dict[str, tuple[str, ...]]:
    searched = Libraries(files, PYTHON, env or {}, machine="x86_64")
    return {one.name: one.missing for one in packages(files, find_distributions(files, [SITE]), searched) if one.missing}


def test_a_library_that_is_nowhere_is_missing() -> None:
    assert missing(lightgbm()) == {"lightgbm": ("libgomp.so.1",)}


def test_a_library_is_found_behind_a_symbolic_link() -> None:
    assert missing(lightgbm(), GOMP) == {}
    dangling: Files = {f"{LIB}/libgomp.so.1": To("libgomp.so.1.0.0")}
    assert missing(lightgbm(), dangling) == {"lightgbm": ("libgomp.so.1",)}


def test_what_a_found_library_needs_is_searched_too() -> None:
    chain: Files = {f"{LIB}/libgomp.so.1": shared("libdeep.so.1"), f"{LIB}/libdeep.so.1": shared("libdeeper.so.1")}
    assert missing(lightgbm(), chain) == {"lightgbm": ("libdeeper.so.1",)}


@pytest.mark.parametrize("other", [shared(machine=183), shared(bits=32, machine=3), b"text", b""])
def test_a_library_of_another_machine_or_none_at_all_does_not_count(other: bytes) -> None:
    assert missing(lightgbm(), {f"{LIB}/libgomp.so.1": other}) == {"lightgbm": ("libgomp.so.1",)}
    assert missing(lightgbm(), {"/lib64/libgomp.so.1": shared(), f"{LIB}/libgomp.so.1": other}) == {}


def test_a_file_that_was_not_looked_at_counts() -> None:
    files = entries(root(), lightgbm(), {f"{LIB}/libgomp.so.1": To("odd")})
    assert found(EntryTree(files)) == {"lightgbm": ("libgomp.so.1",)}
    assert found(EntryTree(files | {f"{LIB}/odd": Entry(FileKind.FILE)})) == {}


def test_vendored_libraries_are_found_from_the_modules_own_place() -> None:
    objects = {
        "scipy/_lib/_c.so": shared("libgfortran-04.so.5", rpath="$ORIGIN/../../scipy.libs"),
        "scipy.libs/libgfortran-04.so.5": shared("libquad-a.so.0", rpath="${ORIGIN}"),
        "scipy.libs/libquad-a.so.0": shared("libc.so.6"),
    }
    assert missing(package("scipy", objects)) == {}
    del objects["scipy.libs/libquad-a.so.0"]
    assert missing(package("scipy", objects)) == {"scipy": ("libquad-a.so.0",)}


def test_what_a_package_brings_serves_it_by_its_soname_since_it_may_load_it_first() -> None:
    objects = {"torch/_C.so": shared("libtorch.so"), "torch/hidden/any.so": shared(soname="libtorch.so")}
    assert missing(package("torch", objects)) == {}
    objects["torch/hidden/any.so"] = shared()
    assert missing(package("torch", objects)) == {"torch": ("libtorch.so",)}


def test_what_a_required_package_brings_serves_too_and_no_other() -> None:
    torch = package("torch", {"torch/lib/libtorch.so": shared(soname="libtorch.so")})
    vision = {"torchvision/_C.so": shared("libtorch.so")}
    between = package("between", {}, "Requires-Dist: Torch>=2; python_version>='3'\n")
    assert missing(torch, package("torchvision", vision, "Requires-Dist: torch (==2.0)\n")) == {}
    assert missing(torch, between, package("torchvision", vision, "Requires-Dist: between\n")) == {}
    for none in ("", "Requires-Dist: torch; extra == 'gpu'\n"):
        assert missing(torch, package("torchvision", vision, none)) == {"torchvision": ("libtorch.so",)}


def test_libraries_of_other_packages_are_found_by_path() -> None:
    torch = package("torch", {"torch/lib/libtorch_cuda.so": shared("libcudart.so.12", rpath="$ORIGIN/../../nvidia/cuda/lib")})
    assert missing(torch) == {"torch": ("libcudart.so.12",)}
    assert missing(torch, package("nvidia_cuda", {"nvidia/cuda/lib/libcudart.so.12": shared()})) == {}


def test_what_the_interpreter_has_loaded_serves_everyone() -> None:
    own: Files = {"/usr/bin/python3.11": shared("libpython3.11.so.1.0", runpath="$ORIGIN/../own")}
    own |= {"/usr/own/libpython3.11.so.1.0": shared("libdeep.so", runpath="$ORIGIN"), "/usr/own/libdeep.so": shared()}
    assert missing(lightgbm("libpython3.11.so.1.0", "libdeep.so"), own) == {}
    assert missing(lightgbm("libpython3.11.so.1.0")) == {"lightgbm": ("libpython3.11.so.1.0",)}


def test_the_interpreters_rpath_serves_everyone_as_in_conda_and_its_runpath_does_not() -> None:
    own: Files = {"/usr/own/libgomp.so.1": shared()}
    assert missing(lightgbm(), own | {"/usr/bin/python3.11": shared(rpath="$ORIGIN/../own")}) == {}
    for program in (shared(runpath="$ORIGIN/../own"), shared(rpath="$ORIGIN/../own", runpath="/x")):
        assert missing(lightgbm(), own | {"/usr/bin/python3.11": program}) == {"lightgbm": ("libgomp.so.1",)}


def test_rpath_is_inherited_and_runpath_is_not() -> None:
    libraries: Files = {"/own/liba.so": shared("libb.so"), "/own/libb.so": shared()}
    assert missing(lightgbm("liba.so", rpath="/own"), libraries) == {}
    assert missing(lightgbm("liba.so", runpath="/own"), libraries) == {"lightgbm": ("libb.so",)}
    # An object with a RUNPATH of its own asks nobody else's RPATH.
    libraries["/own/liba.so"] = shared("libb.so", runpath="/nowhere")
    assert missing(lightgbm("liba.so", rpath="/own"), libraries) == {"lightgbm": ("libb.so",)}


def test_rpath_does_not_count_beside_a_runpath() -> None:
    assert missing(lightgbm("liba.so", rpath="/own", runpath="/x"), {"/own/liba.so": shared()}) == {"lightgbm": ("liba.so",)}


def test_an_own_library_that_another_needs_inherits_its_search_path() -> None:
    for soname in ("liba.so", None):
        objects = {"x/z.so": shared("liba.so", rpath="$ORIGIN:/own"), "x/liba.so": shared("libb.so", soname=soname)}
        assert missing(package("x", objects), {"/own/libb.so": shared()}) == {}
        assert missing(package("x", objects)) == {"x": ("libb.so",)}


@pytest.mark.parametrize("value", ["/own", "/x:/own", "/x;/own", "/own:", "$ORIGIN/../../own"])
def test_the_variable_is_searched(value: str) -> None:
    files: Files = {"/own/libgomp.so.1": shared()}
    assert missing(lightgbm(), files, env={"LD_LIBRARY_PATH": value}) == {}
    assert missing(lightgbm(), files, env={"LD_LIBRARY_PATH": "own"}) == {"lightgbm": ("libgomp.so.1",)}


def test_the_linkers_configuration_is_read_with_what_it_includes() -> None:
    files: Files = {"/etc/ld.so.conf": "include /etc/ld.so.conf.d/*.conf\n", "/usr/local/lib/libgomp.so.1": shared()}
    local: Files = {"/etc/ld.so.conf.d/libc.conf": "# local\n\n/usr/local/lib # and more\n"}
    assert missing(lightgbm(), files) == {"lightgbm": ("libgomp.so.1",)}
    assert missing(lightgbm(), files | local) == {}
    assert missing(lightgbm(), local, {"/usr/local/lib/libgomp.so.1": shared()}) == {"lightgbm": ("libgomp.so.1",)}
    relative: Files = {"/etc/ld.so.conf": "hwcap 1 x\ninclude ld.so.conf.d/*.conf ld.so.conf\n"}
    assert missing(lightgbm(), files | local | relative) == {}


def test_the_token_lib_is_any_of_the_directories_that_it_may_be() -> None:
    for folder in ("lib64", "lib", "lib/x86_64-linux-gnu"):
        assert missing(lightgbm(runpath="/own/$LIB"), {f"/own/{folder}/libgomp.so.1": shared()}) == {}


def test_a_name_with_a_slash_is_a_path() -> None:
    own: Files = {"/own/libx.so": shared(), f"{SITE}/lightgbm/lib/liby.so": shared()}
    assert missing(lightgbm("/own/libx.so", "$ORIGIN/liby.so"), own) == {}
    assert missing(lightgbm("/own/libx.so", "sub/liby.so")) == {"lightgbm": ("/own/libx.so", "sub/liby.so")}


def test_links_in_a_search_path_are_followed_before_two_dots() -> None:
    files: Files = {"/lnk": To("/real/deep"), "/real/deep": None, "/real/own/libgomp.so.1": shared()}
    assert missing(lightgbm(runpath="/lnk/../own"), files) == {}


def test_musl_searches_its_own_directories_or_those_that_its_file_names() -> None:
    files: Files = {"/usr/local/lib/libgomp.so.1": shared("libc.musl-x86_64.so.1")}
    one = lightgbm("libgomp.so.1", "libc.musl-x86_64.so.1", "libpthread.so.0")
    assert missing(one, base=MUSL) == {"lightgbm": ("libgomp.so.1",)}
    assert missing(one, files, base=MUSL) == {}
    assert missing(one, files, {"/etc/ld-musl-x86_64.path": "/lib:/usr/lib\n"}, base=MUSL) == {"lightgbm": ("libgomp.so.1",)}
    named: Files = {"/own/libgomp.so.1": shared(), "/etc/ld-musl-x86_64.path": "/lib:/own\n/usr/lib\n"}
    assert missing(one, named, base=MUSL) == {}


def test_musl_inherits_every_search_path() -> None:
    files: Files = {"/own/liba.so": shared("libb.so"), "/own/libb.so": shared()}
    assert missing(lightgbm("liba.so", runpath="/own"), files, base=MUSL) == {}


def test_libraries_that_need_one_another_end() -> None:
    circle: Files = {f"{LIB}/liba.so": shared("libb.so"), f"{LIB}/libb.so": shared("liba.so", "libb.so", "libnone.so")}
    assert missing(lightgbm("liba.so"), circle) == {"lightgbm": ("libnone.so",)}


def test_objects_for_other_machines_and_files_that_are_none_are_passed_over() -> None:
    objects = {"x/arm.so": shared("libarm.so", machine=183), "x/old.so": shared("libold.so", machine=3, bits=32)}
    assert missing(package("x", objects | {"x/text.so": b"GROUP ()", "x/libz.so.json": b"{}"})) == {}
    assert missing(distribution(SITE, "y", "1.0", RECORD="y/gone.so,,\n")) == {}


def test_a_package_without_a_record_has_no_known_objects() -> None:
    egg: Files = {f"{SITE}/x.egg-info/PKG-INFO": "Name: x\nVersion: 1\n", f"{SITE}/x/_c.so": shared("libnone.so")}
    assert missing(egg) == {}


def test_an_object_whose_needs_can_not_be_told_is_named() -> None:
    broken = shared("libx.so")[:150]
    assert missing(package("x", {"x/_c.so": broken})) == {"x": ("?_c.so",)}
    assert missing(lightgbm(), {f"{LIB}/libgomp.so.1": broken}) == {"lightgbm": ("?libgomp.so.1",)}


def test_names_that_no_document_can_hold_are_made_harmless() -> None:
    (names,) = missing(package("x", {"x/_c.so": shared("lib\x1b[2J.so")})).values()
    assert names == ("lib\N{REPLACEMENT CHARACTER}[2J.so",)


def test_the_search_is_bounded() -> None:
    path = ":".join(f"/own/{number}" for number in range(200))
    many = lightgbm(*(f"lib{number}.so" for number in range(50)), rpath=path)
    folders: Files = {f"/own/{number}": None for number in range(200)}
    assert len(missing(many, folders)["lightgbm"]) == 50
    searched = Libraries(tree(root(), many, folders), PYTHON, {}, machine="x86_64", max_steps=5_000)
    files = tree(root(), many, folders)
    with pytest.raises(CatalogueError) as caught:
        packages(files, find_distributions(files, [SITE]), searched)
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


def refused(files: EntryTree, **limits: Any) -> Reason:
    with pytest.raises(CatalogueError) as caught:
        packages(files, find_distributions(files, [SITE]), Libraries(files, PYTHON, {}, machine="x86_64"), **limits)
    return caught.value.reason


def test_a_chain_of_libraries_without_end_ends() -> None:
    chain: Files = {f"{LIB}/lib{n}.so": shared(f"lib{n + 1}.so") for n in range(400)}
    files = tree(root(), lightgbm("lib0.so"), chain)
    assert found(files) == {"lightgbm": ("lib400.so",)}
    with pytest.raises(CatalogueError):
        packages(files, find_distributions(files, [SITE]), Libraries(files, PYTHON, {}, machine="x86_64", max_steps=20_000))


def test_packages_that_all_require_one_another_end() -> None:
    requires = "".join(f"Requires-Dist: p{n}\n" for n in range(40))
    many = [package(f"p{n}", {f"p{n}/_c.so": shared("libnone.so", soname=f"libp{n}.so")}, requires) for n in range(40)]
    assert len(missing(*many)) == 40
    assert refused(tree(root(), *many), max_steps=20_000) is Reason.LIMIT_EXCEEDED


def test_files_without_a_body_are_not_read_as_objects() -> None:
    files = EntryTree({"/x": Entry(FileKind.FILE), "/y": Entry(FileKind.FILE, body=shared("a"))})
    assert files.shared_object("/x") is Undetermined.NOT_READ
    assert files.shared_object("/none") is None
    one = files.shared_object("/y")
    assert isinstance(one, SharedObject)
    assert one.needed == ("a",)
