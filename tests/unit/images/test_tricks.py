"""Tricks with what stands inside an image, one by one: docs/threat-model.md lists all of them and what becomes of each."""

from typing import Any

import pytest

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.limits import MIB, Limits
from tests.fakes.images import Item, Layer, MemorySource, layer
from tests.fakes.roots import VENV_SITE, Files, To, debian, distribution, items, venv
from tests.fakes.workers import scan
from tests.unit.environment.catalogue.packages.test_eggs import archive

GOOD: Files = debian() | venv() | dict(distribution(VENV_SITE, "numpy", "1.26.4"))


async def found(*layers: Layer, **settings: Any) -> dict[str, str]:
    source = MemorySource()
    source.image(layers, settings={"Entrypoint": ["/opt/venv/bin/python"]} | settings)
    document = (await scan(source, await source.resolved(), Limits())).document
    return {package.name: package.version for package in document.packages}


async def refused(*layers: Layer, **settings: Any) -> Reason:
    with pytest.raises(ImageError) as caught:
        await found(*layers, **settings)
    return caught.value.reason


def rooted(files: Files) -> Layer:
    return layer(*items(GOOD | files))


@pytest.mark.parametrize(
    ("file", "size"),
    [("METADATA", MIB), ("WHEEL", MIB), ("direct_url.json", MIB), ("RECORD", 32 * MIB)],
    ids=lambda value: value,
)
async def test_metadata_beyond_its_limit_is_refused_unread(file: str, size: int) -> None:
    path = f"{VENV_SITE}/numpy-1.26.4.dist-info/{file}"
    assert await refused(rooted({path: b"Name: numpy\nVersion: 1.26.4\n".ljust(size + 1)})) is Reason.FILE_UNREADABLE


async def test_layers_of_several_compressions_make_one_image() -> None:
    upper = [layer(*items(distribution(VENV_SITE, name, "1.0")), kind=kind) for name, kind in (("a", "zstd"), ("b", ""))]
    assert await found(rooted({}), *upper) == {"a": "1.0", "b": "1.0", "numpy": "1.26.4"}


async def test_an_sbom_inside_the_image_is_no_evidence() -> None:
    bom = '{"bomFormat": "CycloneDX", "components": [{"name": "evil", "version": "1", "purl": "pkg:pypi/evil@1"}]}'
    sboms: Files = {f"{VENV_SITE}/pip/_vendor/bom.cdx.json": bom, f"{VENV_SITE}/numpy-1.26.4.dist-info/sboms/a.cdx.json": bom}
    assert await found(rooted(sboms)) == {"numpy": "1.26.4"}


async def test_what_a_package_vendors_or_tests_with_is_not_installed() -> None:
    phantoms = distribution(f"{VENV_SITE}/setuptools/_vendor", "wheel", "0.45.1")
    phantoms |= distribution(f"{VENV_SITE}/pkg/tests/data", "my_test_package", "1.0")
    assert await found(rooted(phantoms)) == {"numpy": "1.26.4"}


async def test_an_egg_in_a_file_counts_where_the_path_leads_to_it() -> None:
    egg, path = f"{VENV_SITE}/evil-1.0-py3.11.egg", {f"{VENV_SITE}/easy-install.pth": "./evil-1.0-py3.11.egg\n"}
    told = archive(("evil.py", ""), ("EGG-INFO/PKG-INFO", "Name: Evil\nVersion: 1.0\n"))
    assert await found(rooted({egg: told})) == {"numpy": "1.26.4"}
    assert await found(rooted({egg: told, **path})) == {"numpy": "1.26.4", "evil": "1.0"}
    assert await refused(rooted({egg: archive(("evil.py", "")), **path})) is Reason.INTERPRETER_AMBIGUOUS


async def test_an_egg_directory_and_a_development_link_are_seen_through_the_path_file() -> None:
    egg = f"{VENV_SITE}/old-1.0-py3.11.egg"
    files: Files = {
        f"{egg}/EGG-INFO/PKG-INFO": "Name: old\nVersion: 1.0\n",
        "/src/own/own.egg-info/PKG-INFO": "Name: own\nVersion: 2.0\n",
        f"{VENV_SITE}/own.egg-link": "/src/own\n.\n",
        f"{VENV_SITE}/easy-install.pth": "./old-1.0-py3.11.egg\n/src/own\n",
    }
    assert await found(rooted(files)) == {"numpy": "1.26.4", "old": "1.0", "own": "2.0"}


async def test_an_interpreter_that_would_lie_is_not_asked() -> None:
    lie = "import importlib.metadata\nimportlib.metadata.version = lambda name: '2.0.0'\n"
    files: Files = {f"{VENV_SITE}/sitecustomize.py": lie, "/usr/lib/python3.11/importlib/metadata/__init__.py": lie}
    assert await found(rooted(files)) == {"numpy": "1.26.4"}


async def test_conda_environments_are_told_apart_by_what_is_started() -> None:
    files: Files = {}
    for base, version in (("/opt/conda", "1.0"), ("/opt/conda/envs/serve", "2.0")):
        files |= {f"{base}/bin/python3.11": GOOD["/usr/bin/python3.11"], f"{base}/lib/python3.11/os.py": ""}
        files |= {f"{base}/bin/python": To("python3.11")} | distribution(
            f"{base}/lib/python3.11/site-packages", "pandas", version
        )
    one = rooted(files)
    assert await found(one, Entrypoint=["/opt/conda/bin/python"]) == {"pandas": "1.0"}
    assert await found(one, Entrypoint=["/opt/conda/envs/serve/bin/python"]) == {"pandas": "2.0"}
    path = "PATH=/opt/conda/envs/serve/bin:/opt/conda/bin"
    assert await found(one, Entrypoint=["python"], Env=[path]) == {"pandas": "2.0"}


async def test_a_file_with_metadata_below_the_parent_of_another_can_not_be_smuggled_past_the_scan() -> None:
    # Programs that unpack this in order have a directory where the scan would have a file, or stop.
    evil = Item(f"{VENV_SITE[1:]}/lnk/numpy-9.dist-info/METADATA", b"Name: numpy\nVersion: 9\n")
    assert await refused(rooted({}), layer(Item(f"{VENV_SITE[1:]}/lnk", b""), evil)) is Reason.LAYER_AMBIGUOUS


async def test_names_that_are_no_utf_8_stand_in_an_image_without_harm() -> None:
    assert await found(rooted({}), layer(Item("opt/caf\udce9", b"x"))) == {"numpy": "1.26.4"}
