"""Puts layers on top of one another, as a container runtime does, and refuses what runtimes do differently."""

from dataclasses import replace

from lockstep.api.reasons import Reason
from lockstep.environment.tree import Entry, EntryTree, FileKind
from lockstep.images.image import ImageError
from lockstep.images.layers.record import LayerRecord
from lockstep.images.limits import Limits

_ANY = "*"
"""Stands for whatever an opaque directory hides."""


class Squash:
    """The root file system as the layers so far make it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries: dict[str, Entry] = {"/": Entry(FileKind.DIRECTORY)}
        self._children: dict[str, set[str]] = {}
        self._names = 0
        self._kept = self._seen = 0
        self._layers = 0

    def apply(self, layer: LayerRecord) -> None:
        """Put the next layer on top.

        Raises:
            ImageError: LayerAmbiguous, LimitExceeded.
        """
        self._check_limits(layer)
        self._hide(layer)
        for path, entry in layer.entries.items():
            self._put(path, self._with_layer_number(path, entry), layer)
        for path, target in layer.hard_links.items():
            linked = self._entries.get(target)
            if linked is None or linked.kind is FileKind.DIRECTORY:
                raise _ambiguous_error(path, f"it is a hard link to {target}, which is no file there")
            self._put(path, linked, layer)
        self._layers += 1
        for path in (*layer.entries, *layer.hard_links):
            if path not in self._entries or self._entries[_parent(path)].kind is not FileKind.DIRECTORY:
                raise _ambiguous_error(path, "its parent is a directory and something else in one layer")

    def _check_limits(self, layer: LayerRecord) -> None:
        self._kept += layer.kept
        self._seen += layer.seen
        if self._seen > self._limits.entries:
            raise ImageError(Reason.LIMIT_EXCEEDED, f"the image has more than {self._limits.entries} entries")
        if self._kept > self._limits.kept:
            raise ImageError(Reason.LIMIT_EXCEEDED, f"the evidence has more than {self._limits.kept} bytes")

    def _with_layer_number(self, path: str, entry: Entry) -> Entry:
        """Say of a file which layer brought its content: a layer that changes its owner or mode only brings none."""
        if entry.stat is None or not self._layers:
            return entry
        before = self._entries.get(path)
        number = self._layers
        if before is not None and before.stat is not None and entry.sha256 is not None and before.sha256 == entry.sha256:
            number = before.stat.layer
        return entry if entry.stat.layer == number else replace(entry, stat=replace(entry.stat, layer=number, put=self._layers))

    def _hide(self, layer: LayerRecord) -> None:
        for path in layer.whiteouts | {f"{folder}/{_ANY}" for folder in layer.opaque}:
            self._check_parents(path, layer)
        for path in (*layer.entries, *layer.hard_links, *layer.opaque) if layer.whiteouts else ():
            _check_not_hidden(path, layer.whiteouts)
        for path in layer.whiteouts:
            _check_not_hidden(_parent(path), layer.whiteouts)
        # Whiteouts concern lower layers only, wherever they stand in the archive.
        for path in layer.opaque:
            for child in list(self._children.get(path, ())):
                self._remove(child)
        for path in layer.whiteouts:
            self._remove(path)

    def tree(self) -> EntryTree:
        """Return the result."""
        return EntryTree(self._entries)

    def _put(self, path: str, entry: Entry, layer: LayerRecord) -> None:
        self._make_parents(path, layer)
        if path == "/":
            return
        before = self._entries.get(path)
        if before is not None and before.kind is FileKind.DIRECTORY and entry.kind is not FileKind.DIRECTORY:
            self._remove(path)
        if before is not None and before.kind is FileKind.SYMLINK and entry.kind is FileKind.DIRECTORY:
            raise _ambiguous_error(path, "a directory takes the place of a lower layer's symbolic link")
        self._set(path, entry)

    def _make_parents(self, path: str, layer: LayerRecord) -> None:
        parent = _parent(path)
        while (known := self._entries.get(parent)) is None:
            self._set(parent, Entry(FileKind.DIRECTORY))
            parent = _parent(parent)
        made = layer.entries.get(parent)
        if known.kind is not FileKind.DIRECTORY and (made is None or made.kind is not FileKind.DIRECTORY):
            raise _ambiguous_error(path, f"{parent} is no directory")

    def _check_parents(self, path: str, layer: LayerRecord) -> None:
        """What is hidden below a link is hidden there by some runtimes, and at the link's target by others."""
        while path != "/":
            path = _parent(path)
            known = (self._entries.get(path), layer.entries.get(path))
            if path in layer.hard_links or any(one is not None and one.kind is not FileKind.DIRECTORY for one in known):
                raise _ambiguous_error(
                    path, "a layer hides something below it, and it is no directory there or in a lower layer"
                )

    def _set(self, path: str, entry: Entry) -> None:
        if path not in self._entries:
            # Archives may leave parents out, so that one long name makes thousands of directories.
            self._names += len(path)
            if self._names > self._limits.kept:
                raise ImageError(Reason.LIMIT_EXCEEDED, f"the names have more than {self._limits.kept} bytes")
        self._entries[path] = entry
        self._children.setdefault(_parent(path), set()).add(path)

    def _remove(self, path: str) -> None:
        # No recursion: a path of 4096 bytes can have more directories than Python has frames.
        below = [path]
        while below:
            gone = below.pop()
            below.extend(self._children.pop(gone, ()))
            if self._entries.pop(gone, None) is not None:
                self._names -= len(gone)
                self._children.get(_parent(gone), set()).discard(gone)


def _check_not_hidden(path: str, whiteouts: set[str]) -> None:
    """A whiteout concerns lower layers only, but programs that go by the archive's order hide what came before it."""
    here = path
    while here != "/":
        if here in whiteouts:
            raise _ambiguous_error(path, "one layer both hides and holds it")
        here = _parent(here)


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _ambiguous_error(path: str, why: str) -> ImageError:
    return ImageError(Reason.LAYER_AMBIGUOUS, f"entry {path[:200]!r}: {why}")
