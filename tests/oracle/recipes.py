"""Real images of the kinds that people serve models from: built once from Debian and PyPI, and kept as one OCI layout."""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import images, kind
from tests.cluster.paths import CACHE
from tests.cluster.say import step

_FOLDER = Path(__file__).parent / "images"
_SHARED = CACHE / "oracle"
_SUPERFLUOUS = ("site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "config-*", "__pycache__", "*.a")
NO_PREFIX = "the Python that runs the tests has no prefix of its own to copy"
NO_BUILDS = "building images needs root and buildah"


@dataclass(frozen=True)
class Recipe:
    """How one image is built."""

    name: str
    base: str | None = None
    """The recipe below; None for Debian's base image."""
    prefix: bool = False
    """Whether the build takes a copy of the running interpreter's prefix."""
    compared: bool = True
    """Whether its scan is compared with what is inside; others are only run."""


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("venv"),
        Recipe("serve", "venv"),
        Recipe("cuda"),
        Recipe("mlserver"),
        Recipe("models", "mlserver", compared=False),
        Recipe("distroless"),
        Recipe("slim", prefix=True),
        Recipe("two", "slim"),
        Recipe("conda", prefix=True),
    )
}


@dataclass(frozen=True)
class Built:
    """A built image."""

    tag: str
    layout: Path
    """An OCI layout with this image only, whose blobs are shared with the others."""


def possible() -> bool:
    """Return whether images can be built here."""
    return os.geteuid() == 0 and not kind.chosen() and shutil.which("buildah") is not None


def has_prefix() -> bool:
    """Return whether the running interpreter keeps to a prefix of its own, so that a copy of it runs elsewhere."""
    return sys.base_prefix not in ("/usr", "/usr/local")


def needs_prefix(recipe: Recipe) -> bool:
    """Return whether a recipe, or one below it, copies the running interpreter."""
    return recipe.prefix or (recipe.base is not None and needs_prefix(RECIPES[recipe.base]))


def built(name: str) -> Built:
    """Build an image, or return it as it was built before by the same recipe.

    Raises:
        ClusterError: the build failed.
    """
    recipe = RECIPES[name]
    below = built(recipe.base).tag if recipe.base else images.base_image()
    tag = f"localhost/oracle/{name}:{_key(recipe, below)}"
    with _alone():
        if not images.exists(tag):
            with step(f"image {name} (once)"), _context(recipe) as context:
                images.build(tag, _FOLDER / f"{name}.Dockerfile", context, {"BASE": below})
        return Built(tag, _layout(tag))


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other checkouts from writing into the layout that all share; the kernel frees the lock should this process die."""
    _SHARED.mkdir(parents=True, exist_ok=True)
    with (_SHARED / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _key(recipe: Recipe, below: str) -> str:
    parts = [(_FOLDER / f"{recipe.name}.Dockerfile").read_bytes(), below.encode()]
    parts += [(_FOLDER / "status.py").read_bytes()] if recipe.name == "distroless" else []
    parts += [sys.version.encode()] if recipe.prefix else []
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


@contextmanager
def _context(recipe: Recipe) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        context = Path(folder)
        shutil.copy2(_FOLDER / "status.py", context)
        if recipe.prefix:
            _copy_prefix(context / "prefix")
        yield context


def _copy_prefix(to: Path) -> None:
    series = f"{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(sys.base_prefix)
    (to / "bin").mkdir(parents=True)
    shutil.copy2(base / f"bin/python{series}", to / "bin")
    (to / "bin/python3").symlink_to(f"python{series}")
    ignored = shutil.ignore_patterns(*_SUPERFLUOUS)
    shutil.copytree(base / f"lib/python{series}", to / f"lib/python{series}", symlinks=True, ignore=ignored)
    (to / f"lib/python{series}/site-packages").mkdir()
    for library in sorted((base / "lib").glob("libpython*.so*")):
        shutil.copy2(library, to / "lib", follow_symlinks=False)


def _layout(tag: str) -> Path:
    view = _SHARED / tag.rpartition("/")[2].replace(":", "-")
    if (view / "index.json").exists():
        return view
    with tempfile.TemporaryDirectory(dir=_SHARED) as folder:
        # Pushed into a layout that all images share, so that what they have in common is written once.
        images.save(tag, _SHARED / "layout", view.name)
        entries = json.loads((_SHARED / "layout/index.json").read_text())["manifests"]
        named = "org.opencontainers.image.ref.name"
        mine = [entry for entry in entries if entry["annotations"][named] == view.name]
        made = Path(folder) / "view"
        made.mkdir()
        (made / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (made / "blobs").symlink_to("../layout/blobs")
        (made / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": mine}))
        made.rename(view)
    return view
