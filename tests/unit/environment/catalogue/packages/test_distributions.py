"""What is installed on a path."""

import json

import pytest
from pydantic import ValidationError

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.packages.distributions import find_distributions
from lockstep.environment.catalogue.packages.record import content_digest, rows
from lockstep.environment.document import Origin, Package
from lockstep.environment.tree import Entry, EntryTree, FileKind, UnreadableFileError
from tests.fakes.installed import packages_on
from tests.fakes.roots import Files, distribution, record_row, tree

SITE = "/site"


def found(files: Files, *paths: str) -> dict[str, str]:
    return {one.name: one.version for one in packages_on(tree(files), paths or (SITE,))}


def refusal(files: Files) -> str:
    with pytest.raises(CatalogueError) as caught:
        packages_on(tree(files), [SITE])
    assert caught.value.reason is Reason.METADATA_INVALID
    return caught.value.message


def metadata(text: str, folder: str = "x-1.0.dist-info") -> Files:
    return {f"{SITE}/{folder}/METADATA": text}


def origin(stated: object) -> Origin | None:
    (one,) = packages_on(tree(distribution(SITE, "x", "1.0", direct_url__json=json.dumps(stated))), [SITE])
    return one.origin


def test_distributions_are_sorted_by_normalised_name() -> None:
    files = distribution(SITE, "Zope.Interface", "6.0") | distribution(SITE, "a_b", "1.0")
    assert found(files) == {"a-b": "1.0", "zope-interface": "6.0"}


def test_the_first_on_the_path_wins() -> None:
    files = distribution("/first", "numpy", "1.26.4") | distribution("/second", "numpy", "2.0.0")
    assert found(files, "/first", "/second") == {"numpy": "1.26.4"}
    assert found(files, "/second", "/first") == {"numpy": "2.0.0"}


def test_what_is_not_directly_on_the_path_is_not_installed() -> None:
    assert found(distribution(f"{SITE}/setuptools/_vendor", "wheel", "0.45.1")) == {}


def test_phantoms_are_not_installed() -> None:
    files = distribution(f"{SITE}/setuptools/_vendor", "jaraco.text", "3.12") | distribution(f"{SITE}/x/tests/data", "y", "1")
    files |= {f"{SITE}/pip/_vendor/bom.cdx.json": '{"components": [{"name": "msgpack", "version": "1.0"}]}'}
    files |= distribution(SITE, "x", "1.0")
    assert found(files) == {"x": "1.0"}


def test_metadata_directories_count_in_letters_of_either_case_as_importlib_takes_them() -> None:
    assert found({f"{SITE}/x-1.0.DIST-INFO/METADATA": "Name: x\nVersion: 1.0\n"}) == {"x": "1.0"}


def test_an_egg_directory_on_the_path_holds_a_distribution() -> None:
    egg = f"{SITE}/Old-1.0-py3.11.egg"
    files: Files = {f"{egg}/EGG-INFO/PKG-INFO": "Name: Old\nVersion: 1.0\n", f"{egg}/old.py": ""}
    assert found(files, egg) == {"old": "1.0"}
    assert found(files, SITE) == {}


def test_an_egg_info_of_another_directory_than_an_egg_counts_for_nothing() -> None:
    assert found({f"{SITE}/EGG-INFO/PKG-INFO": "Name: Old\nVersion: 1.0\n"}) == {}


def test_a_development_install_is_found_in_its_source_and_not_by_its_link() -> None:
    files: Files = {
        f"{SITE}/dev.egg-link": "/src/dev\n.\n",
        f"{SITE}/easy-install.pth": "/src/dev\n",
        "/src/dev/dev.egg-info/PKG-INFO": "Name: dev\nVersion: 2.0\n",
    }
    assert found(files, SITE, "/src/dev") == {"dev": "2.0"}
    assert found(files, SITE) == {}


def test_two_of_one_name_in_a_directory_are_refused() -> None:
    assert "numpy is installed twice" in refusal(distribution(SITE, "numpy", "1.26.4") | distribution(SITE, "numpy", "2.0.0"))


def test_two_different_versions_in_one_metadata_are_refused() -> None:
    assert "more than one Version" in refusal(metadata("Name: x\nVersion: 1.0\nVersion: 2.0\n"))


def test_a_version_behind_a_bare_carriage_return_counts_since_importlib_sees_it() -> None:
    assert "more than one Version" in refusal(metadata("Name: x\nSummary: s\rVersion: 9\nVersion: 1.0\n"))


def test_unicode_line_separators_end_no_header() -> None:
    assert found(metadata("Name: x\nSummary: a\u2028\u2028Version: 9\x85b\nVersion: 1.0\n")) == {"x": "1.0"}


def test_what_pip_left_behind_when_it_removed_a_package_is_ignored_as_pip_ignores_it() -> None:
    left = {
        path.replace("/joblib-1.4.0", "/~oblib-1.4.0"): body for path, body in distribution(SITE, "joblib", "1.4.0").items()
    }
    broken: Files = {f"{SITE}/~umpy-1.0.dist-info/RECORD": ""}
    (found,) = find_distributions(tree(distribution(SITE, "joblib", "1.6.0"), left, broken), (SITE,))
    assert (found.package.name, found.package.version) == ("joblib", "1.6.0")


def test_what_pip_left_behind_with_plugins_that_are_still_loaded_is_refused() -> None:
    """`importlib.metadata.entry_points` goes through every directory, whatever its name."""
    removed = distribution(SITE, "evil", "1.0", entry_points__txt="[xarray.backends]\nx = evil:x\n")
    left = {path.replace("/evil-1.0", "/~vil-1.0"): body for path, body in removed.items()}
    assert "declares plugins that are still loaded: delete it" in refusal(left)
    commands = distribution(SITE, "tool", "1.0", entry_points__txt="[console_scripts]\nx = tool:x\n")
    assert found({path.replace("/tool-1.0", "/~ool-1.0"): body for path, body in commands.items()}) == {}


BUILT = {"dir_info": {}, "url": "file:///home/conda/feedstock_root/build_artifacts/numpy_1/work"}


@pytest.mark.parametrize(
    ("installer", "record", "kind"),
    [
        ("conda\n", None, None),
        ("pip\n", "numpy-1.26.4-py311h64a7726_0.json", None),
        ("pip\n", "NumPy-1.26.4-0.json", None),
        ("pip\n", "numpy-2.0.0-py311h64a7726_0.json", "directory"),
        ("pip\n", "numpy-base-1.26.4-0.json", "directory"),
        ("pip\n", None, "directory"),
    ],
)
def test_what_conda_installed_came_from_a_channel_whatever_its_builder_wrote(
    installer: str, record: str | None, kind: str | None
) -> None:
    site = "/opt/conda/lib/python3.11/site-packages"
    files = distribution(site, "numpy", "1.26.4", INSTALLER=installer, direct_url__json=json.dumps(BUILT))
    records: Files = {f"/opt/conda/conda-meta/{record}": "{}"} if record else {}
    (package,) = packages_on(tree(files, records), [site])
    assert (package.origin.kind if package.origin else None) == kind


def test_what_is_installed_from_ones_own_folder_in_a_conda_environment_is_not_the_channels() -> None:
    site = "/opt/conda/lib/python3.11/site-packages"
    for stated in (
        BUILT | {"dir_info": {"editable": True}},
        {"vcs_info": {"commit_id": "c"}, "url": "https://git.example.com/x"},
    ):
        files = distribution(site, "numpy", "1.26.4", INSTALLER="conda", direct_url__json=json.dumps(stated))
        (package,) = packages_on(tree(files), [site])
        assert package.origin is not None


def test_the_same_version_twice_is_no_contradiction() -> None:
    assert found(metadata("Name: x\nVersion: 1.0\nVersion: 1.0\n")) == {"x": "1.0"}


@pytest.mark.parametrize("text", ["Name: x\n", "Name: x\nVersion:\n", "Name: x\n\nVersion: 1.0\n"])
def test_metadata_without_a_version_is_refused(text: str) -> None:
    assert "no Version" in refusal(metadata(text))


def test_metadata_without_a_name_is_refused() -> None:
    assert "no Name" in refusal(metadata("Version: 1.0\n"))


def test_a_directory_of_another_name_is_refused() -> None:
    assert "states the name good" in refusal(metadata("Name: good\nVersion: 1.0\n", "evil-1.0.dist-info"))


def test_a_directory_may_spell_the_name_otherwise() -> None:
    assert found(metadata("Name: Scikit.Learn\nVersion: 1.0\n", "scikit_learn-1.0.dist-info")) == {"scikit-learn": "1.0"}


def test_a_directory_without_metadata_is_refused() -> None:
    assert "has no METADATA" in refusal({f"{SITE}/x-1.0.dist-info/RECORD": ""})


def test_windows_line_ends_and_a_byte_order_mark_are_read() -> None:
    assert found(metadata("\ufeffName: x\r\nVersion: 1.0\r\n\r\nVersion: 2.0\r\n")) == {"x": "1.0"}


@pytest.mark.parametrize("line", ["no header", "Version : 2.0", ": x", "caf\u00e9: x"])
def test_a_version_below_a_line_that_is_no_header_is_refused_since_importlib_takes_it_for_text(line: str) -> None:
    assert "stands below what is no header" in refusal(metadata(f"Name: x\n{line}\nVersion: 1.0\n"))


def test_a_line_that_is_no_header_does_no_harm_below_the_version() -> None:
    # Old tools wrote summaries of several lines; what stands above them is the same to every reader.
    assert found(metadata("Name: x\nVersion: 1.0\nSummary: a\nno header\nHome-page: y\n")) == {"x": "1.0"}


def test_a_version_that_goes_on_in_a_second_line_is_refused() -> None:
    assert "goes on in a second line" in refusal(metadata("Name: x\nVersion: 1.0\n .post1\n"))


def test_a_line_of_blanks_does_not_end_the_headers_since_importlib_takes_it_for_a_folded_one() -> None:
    assert "more than one Version" in refusal(metadata("Name: x\nVersion: 1.0\nSummary: s\n  \nVersion: 2.0\n"))


def test_an_egg_directory_is_read_where_it_is_on_the_path_itself() -> None:
    egg = f"{SITE}/x-1.0-py3.11.egg"
    files: Files = {f"{egg}/EGG-INFO/PKG-INFO": "Name: x\nVersion: 1.0\n"}
    assert found(files) == {}
    assert found(files, SITE, egg) == {"x": "1.0"}


def test_folded_lines_are_no_headers() -> None:
    assert found(metadata("Name: x\nSummary: a\n Version: 9\nVersion: 1.0\n")) == {"x": "1.0"}


def test_egg_info_directories_are_read() -> None:
    assert found({f"{SITE}/PyYAML-6.0.egg-info/PKG-INFO": "Name: PyYAML\nVersion: 6.0\n"}) == {"pyyaml": "6.0"}


def test_egg_info_files_are_read() -> None:
    assert found({f"{SITE}/docopt-0.6.2.egg-info": "Name: docopt\nVersion: 0.6.2\n"}) == {"docopt": "0.6.2"}


def test_a_distribution_that_came_by_name_has_no_origin() -> None:
    (one,) = packages_on(tree(distribution(SITE, "x", "1.0")), [SITE])
    assert one.origin is None
    assert one.tags == ("py3-none-any",)


def test_an_origin_in_version_control_has_its_commit() -> None:
    stated = {"url": "https://git.example.com/x", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    assert origin(stated) == Origin(kind="vcs", url="https://git.example.com/x", commit="abc")


@pytest.mark.parametrize("info", [{"hash": "sha256=ab"}, {"hashes": {"sha256": "ab"}}])
def test_an_archive_has_its_hash(info: object) -> None:
    stated = {"url": "https://example.com/x.whl", "archive_info": info}
    assert origin(stated) == Origin(kind="archive", url="https://example.com/x.whl", hash="sha256=ab")


def test_an_archive_may_have_no_hash() -> None:
    assert origin({"url": "file:///x.whl", "archive_info": {}}) == Origin(kind="archive", url="file:///x.whl")


def test_directories_and_editables_are_told_apart() -> None:
    assert origin({"url": "file:///x", "dir_info": {}}) == Origin(kind="directory", url="file:///x")
    assert origin({"url": "file:///x", "dir_info": {"editable": True}}) == Origin(kind="editable", url="file:///x")


@pytest.mark.parametrize("stated", [[], {}, {"url": "x", "vcs_info": {}}, {"url": "x", "archive_info": [1]}, "text"])
def test_a_malformed_origin_is_refused(stated: object) -> None:
    assert "direct_url.json" in refusal(distribution(SITE, "x", "1.0", direct_url__json=json.dumps(stated)))


def test_shared_objects_and_requirements_are_read_with_a_distribution() -> None:
    record = 'x/_c.cpython-311-x86_64-linux-gnu.so,,\nx/a.py,,\n"x.libs/libz,1.so.1.0",,\n../../lib/liby.so,,\nx/so,,\n'
    requires = (
        "Name: x\nVersion: 1\nRequires-Dist: Num.Py>=1\nRequires-Dist: a ; extra == 'b'\nRequires-Dist: c; os_name=='x'\n"
    )
    (one,) = find_distributions(tree(distribution(SITE, "x", "1", RECORD=record, METADATA=requires)), [SITE])
    assert one.objects == (
        f"{SITE}/../../lib/liby.so",
        f"{SITE}/x.libs/libz,1.so.1.0",
        f"{SITE}/x/_c.cpython-311-x86_64-linux-gnu.so",
    )
    assert one.requires == ("num-py", "c")


PIP = """numpy/__init__.py,sha256=AAA,10
numpy/__pycache__/__init__.cpython-311.pyc,,
numpy.libs/libopenblas.so,sha256=BBB,20
numpy-1.0.dist-info/METADATA,sha256=CCC,30
numpy-1.0.dist-info/WHEEL,sha256=DDD,5
numpy-1.0.dist-info/INSTALLER,sha256=pip,4
numpy-1.0.dist-info/REQUESTED,sha256=EEE,0
numpy-1.0.dist-info/RECORD,,
../../../bin/f2py,sha256=shebang-1,200
"""
UV = """../../../bin/f2py,sha256=shebang-2,210
numpy-1.0.dist-info/METADATA,sha256=CCC,30
"numpy.libs/libopenblas.so",sha256=BBB,20
numpy-1.0.dist-info/INSTALLER,sha256=uv,2
numpy-1.0.dist-info/RECORD,,
numpy-1.0.dist-info/WHEEL,sha256=FFF,5
numpy-1.0.dist-info/uv_cache.json,sha256=GGG,99
numpy/__init__.py,sha256=AAA,10
"""


def test_installers_give_the_same_content() -> None:
    target = UV.replace("../../../bin/f2py", "bin/f2py").replace("\n", "\r\n")
    assert content_digest(rows(PIP)) == content_digest(rows(UV)) == content_digest(rows(target))


@pytest.mark.parametrize("change", [("AAA", "XXX"), ("BBB", "XXX"), ("numpy/__init__", "numpy/other")])
def test_another_file_gives_other_content(change: tuple[str, str]) -> None:
    assert content_digest(rows(PIP.replace(*change))) != content_digest(rows(PIP))


def test_a_record_without_hashes_says_nothing() -> None:
    assert content_digest(rows("x/__init__.py,,\n")) is None
    assert content_digest(rows("")) is None


def test_a_record_that_can_not_be_read_is_refused() -> None:
    assert "RECORD" in refusal(distribution(SITE, "x", "1.0", RECORD="x" * 200_000 + ",sha256=1,1\n"))


def package_of(files: Files) -> Package:
    (found,) = packages_on(tree(files), [SITE])
    return found


def test_a_package_whose_files_are_those_of_its_record_has_the_content_that_the_record_claims() -> None:
    files = distribution(SITE, "x", "1.0")
    record = files[f"{SITE}/x-1.0.dist-info/RECORD"]
    assert isinstance(record, str)
    assert package_of(files).content == content_digest(rows(record))
    assert package_of(files).changed is None


def test_an_edited_file_is_named_and_gives_the_content_of_what_is_there() -> None:
    plain, edited = distribution(SITE, "x", "1.0"), distribution(SITE, "x", "1.0") | {f"{SITE}/x/__init__.py": "evil"}
    honest = distribution(SITE, "x", "1.0", RECORD=record_row("x/__init__.py", "evil")) | {f"{SITE}/x/__init__.py": "evil"}
    assert (package_of(edited).changed, package_of(edited).changed_count) == (("x/__init__.py",), 1)
    assert package_of(edited).content != package_of(plain).content
    assert package_of(edited).content == package_of(honest).content


def test_a_missing_file_is_named() -> None:
    files = distribution(SITE, "x", "1.0")
    del files[f"{SITE}/x/__init__.py"]
    assert package_of(files).changed == ("x/__init__.py",)
    assert package_of(files).content != package_of(distribution(SITE, "x", "1.0")).content


def test_at_most_twenty_changed_files_are_named_and_all_are_counted() -> None:
    record = "".join(f"x/{n:02}.py,sha256=AAA,1\n" for n in range(30))
    found = package_of(distribution(SITE, "x", "1.0", RECORD=record))
    assert found.changed == tuple(f"x/{n:02}.py" for n in range(20))
    assert found.changed_count == 30


def test_another_algorithm_is_believed_where_there_is_a_file() -> None:
    record = "x/__init__.py,sha512=AAA,1\nx/gone.py,sha512=AAA,1\nx-1.0.dist-info/METADATA,md5=AAA,1\n"
    assert package_of(distribution(SITE, "x", "1.0", RECORD=record)).changed == ("x-1.0.dist-info/METADATA", "x/gone.py")


def test_scripts_and_what_installers_write_are_not_looked_for() -> None:
    record = "../../bin/x,sha256=AAA,1\nx-1.0.dist-info/INSTALLER,sha256=AAA,1\nx/a.pyc,sha256=AAA,1\n"
    assert package_of(distribution(SITE, "x", "1.0", RECORD=record)).changed is None


def test_only_the_distributions_that_are_named_are_hashed() -> None:
    files = distribution(SITE, "x", "1.0") | {f"{SITE}/x/__init__.py": "evil"}
    root = tree(files)
    (found,) = packages_on(root, [SITE], hashed=["y"])
    assert found.changed is None


def test_a_file_that_was_not_hashed_is_an_error() -> None:
    root = EntryTree(
        {
            f"{SITE}/x-1.0.dist-info/METADATA": Entry(FileKind.FILE, body=b"Name: x\nVersion: 1.0\n"),
            f"{SITE}/x-1.0.dist-info/RECORD": Entry(FileKind.FILE, body=b"x/data,sha256=AAA,1\n"),
            f"{SITE}/x/data": Entry(FileKind.FILE),
        }
    )
    with pytest.raises(UnreadableFileError):
        packages_on(root, [SITE])


def test_a_path_that_can_not_be_shown_is_refused() -> None:
    record = '"x/a\nb.py",sha256=AAA,1\n'
    with pytest.raises(ValidationError):
        package_of(distribution(SITE, "x", "1.0", RECORD=record))


def test_what_a_distribution_plugs_into_is_told_and_tools_are_not() -> None:
    text = "[console_scripts]\nx = x:main\n\n[xarray.backends]\nx = x:X\n[ pandas_plotting_backends ]\nx = x\n"
    text += "[mlflow.project_backend]\nx = x\n[pytest11]\nx = x\n[bad \x07 name]\n"
    assert package_of(distribution(SITE, "x", "1.0", entry_points__txt=text)).plugs == ("pandas_plotting_backends", "xarray")
    assert package_of(distribution(SITE, "x", "1.0", entry_points__txt="[console_scripts]\nx = x:main\n")).plugs is None


def test_the_groups_of_a_distribution_are_bounded() -> None:
    text = "".join(f"[g{n}]\n" for n in range(99))
    found = package_of(distribution(SITE, "x", "1.0", entry_points__txt=text)).plugs
    assert found is not None
    assert len(found) == 32
