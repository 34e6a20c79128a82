"""What an image could run, where its files do not say what it starts."""

from lockstep.environment.candidate import Candidate
from lockstep.environment.catalogue.candidates import MAX_CANDIDATES
from lockstep.environment.catalogue.describe import describe_candidates
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.tree import EntryTree
from tests.fakes.roots import VENV_SITE, Files, debian, distribution, entries, venv

OTHER_SITE = "/opt/other/lib/python3.11/site-packages"
LAUNCH = Launch(("supervisord",), {"PATH": "/opt/venv/bin:/usr/bin"}, "/app")


def model(site: str = VENV_SITE, version: str = "1.4.2") -> Files:
    return distribution(site, "scikit_learn", version)


def found(*parts: Files, launch: Launch = LAUNCH) -> tuple[Candidate, ...]:
    root = EntryTree(entries(debian(), venv(), *parts))
    return describe_candidates(root, launch, machine="x86_64", collector="test")


def versions(candidates: tuple[Candidate, ...]) -> dict[str, dict[str, str]]:
    assert all(one.document is not None for one in candidates)
    return {
        str(one): {package.name: package.version for package in one.document.packages}
        for one in candidates
        if one.document is not None
    }


def test_each_interpreter_that_can_import_a_framework_is_one() -> None:
    parts = (model(), venv("/opt/other"), model(OTHER_SITE, "9.9"))
    assert [list(packages.values()) for packages in versions(found(*parts)).values()] == [["1.4.2"], ["9.9"]]
    (name,) = versions(found(model()))
    assert name.startswith("/opt/venv/bin/python")


def test_without_any_framework_every_interpreter_is_one() -> None:
    names = list(versions(found(distribution(VENV_SITE, "own", "1.0"))))
    assert sorted(name.rpartition("/")[0] for name in names) == ["/opt/venv/bin", "/usr/bin"]


def test_a_directory_of_packages_that_is_on_no_path_makes_one_with_each_interpreter() -> None:
    packages = versions(found(model(), distribution("/srv/pkgs", "scikit_learn", "1.2.0")))
    first = {name: {**installed}["scikit-learn"] for name, installed in packages.items()}
    added = {name: version for name, version in first.items() if "with /srv/pkgs first" in name}
    assert set(added.values()) == {"1.2.0"}
    assert len(added) == 2, "the system's interpreter could serve with it too"
    assert [version for name, version in first.items() if name not in added] == ["1.4.2"]


def test_what_a_package_brings_below_itself_makes_none() -> None:
    vendored = distribution(f"{VENV_SITE}/setuptools/_vendor", "wheel", "0.45.1")
    assert len(found(model(), vendored)) == 1


def test_the_variables_of_the_image_count_for_each() -> None:
    launch = Launch(("supervisord",), {"PATH": "/usr/bin", "PYTHONPATH": "/srv/pkgs"}, "/app")
    packages = versions(found(model(), distribution("/srv/pkgs", "scikit_learn", "1.2.0"), launch=launch))
    assert {installed["scikit-learn"] for installed in packages.values()} == {"1.2.0"}


def test_one_that_can_not_be_described_says_why() -> None:
    broken: Files = {f"{VENV_SITE}/numpy-2.0.dist-info/METADATA": "Name: other\nVersion: 2.0\n"}
    (one,) = found(model(), broken)
    assert one.document is None
    assert "other" in one.fault


def test_too_many_are_none() -> None:
    folders = [distribution(f"/srv/{n}", "numpy", "1.26.4") for n in range(MAX_CANDIDATES)]
    assert found(model(), *folders) == ()


def test_a_candidate_survives_being_written_and_read() -> None:
    broken: Files = {f"{OTHER_SITE}/numpy-2.0.dist-info/METADATA": "Name: other\nVersion: 2.0\n"}
    pkgs = distribution("/srv/pkgs", "scikit_learn", "1.2.0")
    for one in found(model(), venv("/opt/other"), model(OTHER_SITE), broken, pkgs):
        assert Candidate.parse(one.payload()) == one
