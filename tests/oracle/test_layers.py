"""Layers as Lockstep puts them together, against programs that unpack them for a living: umoci, and the kernel's overlayfs.

Random trees are cut into random layers. Where Lockstep takes the layers, both programs have to show the same tree; where it
says `LayerAmbiguous` it promises nothing, and a set of ordinary images that it has to take stands beside the random ones.
"""

import asyncio
import hashlib
import io
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.describe import describe
from lockstep.environment.tree import EntryTree, FileKind
from lockstep.images.image import ImageError
from lockstep.images.layers.interest import Interest
from lockstep.images.layers.layer import read_layer
from lockstep.images.layers.squash import Squash
from lockstep.images.limits import Limits
from lockstep.images.scan.scan import Scanner
from lockstep.images.scan.worker.describe import launch_of
from lockstep.training.host import HostTree
from tests.cluster.processes import stacks
from tests.fakes.images import Item, Layer, MemorySource, directory, hard_link, layer, symlink
from tests.fakes.roots import VENV_SITE, debian, distribution, items, venv
from tests.oracle.chroot import inside
from tests.oracle.cuts import Cut, cuts

UMOCI = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("umoci") is None, reason="umoci as root is needed")
OVERLAY = pytest.mark.skipif(
    os.geteuid() != 0 or not stacks(Path(tempfile.gettempdir())), reason="root, and a file system to stack on, are needed"
)

EXAMPLES = settings(max_examples=25, database=None, derandomize=True)
View = dict[str, tuple[str, str]]
"""What stands where: kind, and a file's digest or a link's target."""


def ours(layers: Sequence[Layer]) -> View:
    """Return the tree as the scan sees it.

    Raises:
        ImageError: the layers are refused.
    """
    everything, squash = Interest(body=1 << 20, hashed=True), Squash(Limits())
    targets: dict[str, str] = {}
    for one in layers:
        record = read_layer(io.BytesIO(one.blob), one.descriptor, one.diff_id, lambda path: everything, Limits())
        # A tree follows links and does not show their text; the last layer that has one says it.
        targets |= {path: entry.target for path, entry in record.entries.items() if entry.kind is FileKind.SYMLINK}
        squash.apply(record)
    return dict(_entries(squash.tree(), targets, "/"))


def _entries(tree: EntryTree, targets: dict[str, str], folder: str) -> Iterator[tuple[str, tuple[str, str]]]:
    for name in tree.listdir(folder):
        path = f"{folder.rstrip('/')}/{name}"
        kind = tree.kind(path)
        if kind is FileKind.SYMLINK:
            yield path, ("symlink", targets[path])
        elif kind is FileKind.FILE:
            yield path, ("file", tree.sha256(path) or "")
        else:
            yield path, (str(kind), "")
        if kind is FileKind.DIRECTORY:
            yield from _entries(tree, targets, path)


def walked(root: Path) -> View:
    """Return the tree as it stands on disk."""
    found: View = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            real = Path(folder) / name
            try:
                mode = real.lstat().st_mode
            except FileNotFoundError:
                # The kernel lists a whiteout that hides nothing, and has nothing there.
                continue
            path = f"/{real.relative_to(root)}"
            if stat.S_ISLNK(mode):
                found[path] = ("symlink", os.readlink(real))
            elif stat.S_ISREG(mode):
                found[path] = ("file", f"sha256:{hashlib.sha256(real.read_bytes()).hexdigest()}")
            else:
                found[path] = ("directory" if stat.S_ISDIR(mode) else "other", "")
    return found


@contextmanager
def umoci(source: MemorySource) -> Iterator[Path]:
    """Unpack an image with umoci."""
    with tempfile.TemporaryDirectory() as folder:
        source.write(Path(folder) / "layout")
        bundle = Path(folder) / "bundle"
        done = subprocess.run(
            ["umoci", "unpack", "--image", f"{folder}/layout:1", str(bundle)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        yield bundle / "rootfs"


@contextmanager
def overlay(archives: Sequence[bytes]) -> Iterator[Path]:
    """Mount an image as containerd does: each layer unpacked by itself, whiteouts turned into the kernel's, all stacked.

    GNU tar unpacks; the marks of whiteouts are turned over as containerd's archive package documents it.
    """
    with tempfile.TemporaryDirectory() as folder:
        lower: list[str] = []
        for number, archive in enumerate(archives):
            below = Path(folder) / f"l{number}"
            below.mkdir()
            unpack = ["tar", "--extract", "--no-same-owner", "--absolute-names", "--directory", str(below), "--file", "-"]
            subprocess.run(unpack, input=archive, check=True, capture_output=True)
            _turn(below)
            lower.insert(0, str(below))
        merged = Path(folder) / "merged"
        merged.mkdir()
        # One directory is no overlay: an empty one below makes it one.
        (Path(folder) / "empty").mkdir()
        stacked = ":".join([*lower, f"{folder}/empty"])
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={stacked}", str(merged)], check=True)
        try:
            yield merged
        finally:
            subprocess.run(["umount", str(merged)], check=True)


def _turn(root: Path) -> None:
    for folder, _, files in os.walk(root):
        for name in files:
            mark = Path(folder) / name
            if name == ".wh..wh..opq":
                mark.unlink()
                os.setxattr(folder, "trusted.overlay.opaque", b"y")
            elif name.startswith(".wh."):
                mark.unlink()
                os.mknod(Path(folder) / name.removeprefix(".wh."), stat.S_IFCHR | 0o600, os.makedev(0, 0))


def compared(cut: Cut, theirs: AbstractContextManager[Path]) -> bool:
    """Compare one image; False when the scan refuses it."""
    try:
        expected = ours(cut.layers())
    except ImageError as error:
        if error.reason is not Reason.LAYER_AMBIGUOUS:
            raise
        return False
    with theirs as root:
        assert walked(root) == expected
    return True


def image(layers: Sequence[Layer]) -> MemorySource:
    source = MemorySource()
    source.image(layers, settings={"Entrypoint": ["/opt/venv/bin/python"]})
    return source


@UMOCI
@EXAMPLES
@given(cuts())
def test_umoci_unpacks_the_tree_that_the_scan_sees(cut: Cut) -> None:
    # This umoci reads no zstd.
    readable = replace(cut, kinds=tuple("gzip" if kind == "zstd" else kind for kind in cut.kinds))
    event(f"taken: {compared(readable, umoci(image(readable.layers())))}")


@OVERLAY
@EXAMPLES
@given(cuts())
def test_the_kernel_stacks_the_tree_that_the_scan_sees(cut: Cut) -> None:
    event(f"taken: {compared(cut, overlay(cut.archives()))}")


BASE = (directory("etc"), Item("etc/a", b"a"), directory("usr/lib"), Item("usr/lib/x", b"1"), symlink("lib", "usr/lib"))
# What builders write: each has to be taken, and to be seen as a runtime shows it.
ORDINARY = {
    "a file replaced": ((Item("etc/a", b"new"),),),
    "a file removed": ((directory("etc"), Item("etc/.wh.a")),),
    "a directory removed": ((directory("usr"), Item("usr/.wh.lib")),),
    "a directory made anew": ((directory("usr/lib"), Item("usr/lib/.wh..wh..opq"), Item("usr/lib/y", b"2")),),
    "a mark after what it stands beside": ((directory("usr/lib"), Item("usr/lib/y", b"2"), Item("usr/lib/.wh..wh..opq")),),
    "a directory in the place of a file": ((directory("etc/a"), Item("etc/a/b", b"b")),),
    "a file in the place of a directory": ((Item("usr/lib", b"file"),),),
    "a link in the place of a directory": ((symlink("usr/lib", "lib64"), directory("usr/lib64"), Item("usr/lib64/z", b"z")),),
    "hard links": ((Item("opt/one", b"1"), hard_link("opt/two", "opt/one"), hard_link("etc/three", "opt/one")),),
    "removed and back": ((Item("etc/.wh.a"),), (Item("etc/a", b"back"),)),
    "without parents": ((Item("a/b/c/d", b"d"), Item("etc/.wh.gone")),),
    "long names": ((Item("opt/" + "n" * 120 + "/" + "m" * 150, b"x"),),),
    "the same directory twice": ((directory("etc"), Item("etc/b", b"b"), directory("./etc")),),
    "dots": ((directory("./"), Item("./etc/a", b"dots")),),
    "a fifo": ((Item("run/pipe", type="6"),),),
}


@pytest.mark.parametrize("name", sorted(ORDINARY))
@pytest.mark.parametrize("how", [pytest.param("umoci", marks=UMOCI), pytest.param("overlay", marks=OVERLAY)])
def test_ordinary_layers_are_taken_and_seen_as_they_are(name: str, how: str) -> None:
    upper = ORDINARY[name]
    cut = Cut((BASE, *upper), ("gzip", *("" for _ in upper)))
    assert compared(cut, umoci(image(cut.layers())) if how == "umoci" else overlay(cut.archives()))


VERSIONS = st.dictionaries(st.sampled_from(["numpy", "scipy", "pandas"]), st.sampled_from(["1.0", "2.0"]))


@UMOCI
@settings(EXAMPLES, max_examples=10)
@given(st.lists(VERSIONS, min_size=1, max_size=3))
def test_what_is_captured_inside_the_unpacked_tree_is_what_is_scanned(states: list[dict[str, str]]) -> None:
    layers = [layer(*items(debian() | venv()))]
    before: dict[str, str] = {}
    for state in states:
        # Each layer upgrades, installs and removes as pip does: metadata under the old version goes.
        gone = [Item(f"{VENV_SITE[1:]}/.wh.{name}-{old}.dist-info") for name, old in before.items() if state.get(name) != old]
        new = [(name, version) for name, version in state.items() if before.get(name) != version]
        layers.append(layer(*gone, *(one for pair in new for one in items(distribution(VENV_SITE, *pair)))))
        before = state
    source = image(layers)
    resolved = asyncio.run(source.resolved())
    scanned = asyncio.run(Scanner(Limits()).scan(source, resolved)).document
    assert {package.name: package.version for package in scanned.packages} == before
    with umoci(source) as root:
        captured = inside(root, lambda: describe(HostTree(), launch_of(resolved.config), machine="x86_64", collector=""))
    assert captured.model_dump(exclude={"collector"}) == scanned.model_dump(exclude={"collector"})
