"""A lock has what the comparison asks of an image: who builds from it is not refused."""

from typing import Any

import pytest

from lockstep.api.environmentspec import EnvironmentSpec
from lockstep.environment.comparison.compare import compare
from lockstep.environment.document import EnvironmentDocument, Origin, Package, System
from lockstep.environment.lock import lock
from tests.fakes import builders as build

NEEDED = {"scikit-learn": "1.9.1", "pygments": "2.21.0", "pandas": "3.1.1"}


def trained(*more: Package) -> EnvironmentDocument:
    document = build.document(NEEDED, required=True)
    return document.model_copy(update={"packages": (*document.packages, *more), "startup": {}})


def built(text: str, document: EnvironmentDocument) -> EnvironmentDocument:
    """Return an image that has what the lock names."""
    names = {line.partition("==")[0] for line in text.splitlines() if not line.startswith("#")}
    kept = tuple(package for package in document.packages if package.name in names)
    return document.model_copy(update={"packages": kept, "required": None, "required_proof": None})


@pytest.mark.parametrize(
    "more",
    [
        {"name": "mako", "version": "1.4.3", "plugs": ("pygments",)},
        {"name": "numexpr", "version": "2.14.1"},
        {"name": "hooked", "version": "1", "startup": ("hooked.pth",)},
        {"name": "unrelated", "version": "1"},
    ],
    ids=lambda more: more["name"],
)
def test_an_image_that_is_built_from_the_lock_is_equal(more: dict[str, Any]) -> None:
    document = trained(Package.model_validate(more))
    text = lock(document, source="models:/iris/1")
    found = compare(document, built(text, document), EnvironmentSpec())
    assert [difference.sentence for difference in found.differences] == []
    assert (more["name"] in text) is (more["name"] != "unrelated")


@pytest.mark.parametrize(
    ("package", "line"),
    [
        (Package(name="gpg", version="1.18.0-unknown"), "# gpg==1.18.0-unknown is no version that an index can have (PEP 440)"),
        (
            Package(name="python-apt", version="2.6.0"),
            "# python-apt==2.6.0 came with the system's package python3-apt, and no index may have it",
        ),
        (
            Package(name="six", version="1.16.0"),
            "# six==1.16.0 came with the system's package python3-six, and no index may have it",
        ),
        (Package(name="six", version="1.16.0", tags=("py2-none-any", "py3-none-any")), "six==1.16.0"),
        (Package(name="six", version="1.1"), "six==1.1"),
        (
            Package(name="six", version="1.16.0", origin=Origin(kind="vcs", url="https://x", commit="c")),
            "six @ git+https://x@c",
        ),
        (Package(name="numpy", version="1.26.4"), "numpy==1.26.4"),
    ],
)
def test_what_no_index_has_is_named_and_not_pinned(package: Package, line: str) -> None:
    packages = {"python3-apt": "2.6.0", "python3-six": "1.16.0-4", "python3": "3.11.2-1+b1"}
    document = build.document({}).model_copy(
        update={"packages": (package,), "system": System(distribution="debian 12", packages=packages)}
    )
    assert lock(document, source="run 1").splitlines()[-1] == line
