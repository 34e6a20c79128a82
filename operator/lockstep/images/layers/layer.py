"""What one layer changes in a root file system: entries, whiteouts, opaque directories (image-spec layer.md)."""

from collections.abc import Callable

from lockstep.api.reasons import Reason
from lockstep.environment.binaries.sharedobject import SharedObject
from lockstep.environment.tree import Entry, FileKind, FileStat, executable_by
from lockstep.images.image import Descriptor, ImageError
from lockstep.images.layers.decompress import ExpandedReader, HashedReader, Readable, open_tar_stream
from lockstep.images.layers.interest import NONE, Interest
from lockstep.images.layers.keep import Keep
from lockstep.images.layers.record import LayerRecord
from lockstep.images.layers.tar import TarEntry, entries
from lockstep.images.limits import Limits

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
# Shared by all files that are no evidence, so that hundreds of thousands of them cost little.
_FILES = {
    who: Entry(FileKind.FILE, why_unread="it is no evidence, so its body was not kept", executable=who)
    for who in (True, False, None)
}
_DIRECTORY = Entry(FileKind.DIRECTORY)
_OTHER = Entry(FileKind.OTHER)
# Attributes by which some runtimes hide or move files and others do not.
_OVERLAY_ATTRIBUTES = ("trusted.overlay.", "user.overlay.", "user.containers.override_stat")


Interests = Callable[[str], Interest]
"""Returns, by a file's path, what is kept of the file."""


def read_layer(blob: Readable, descriptor: Descriptor, diff_id: str, interests: Interests, limits: Limits) -> LayerRecord:
    """Read a layer from its compressed stream, verifying both digests.

    Args:
        blob: the compressed bytes.
        descriptor: what the manifest says of the layer.
        diff_id: digest of the uncompressed bytes by the image's configuration.
        interests: what is kept of which file.
        limits: bounds.

    Raises:
        ImageError: with the reason why the layer can't be determined.
    """
    compressed = HashedReader(blob, descriptor.size, f"layer {descriptor.digest}")
    record = LayerRecord()
    try:
        plain = ExpandedReader(open_tar_stream(compressed, descriptor.media_type, limits), compressed, limits)
        for entry in entries(plain, lambda name, size: _keep(interests(_path(name)), size), limits):
            _add(record, entry)
            record.seen += 1
            if record.seen > limits.entries:
                raise ImageError(Reason.LIMIT_EXCEEDED, f"a layer has more than {limits.entries} entries")
            if record.kept > limits.kept:
                raise ImageError(Reason.LIMIT_EXCEEDED, f"the evidence of a layer has more than {limits.kept} bytes")
    except ImageError as error:
        if error.reason in (Reason.LAYER_CORRUPT, Reason.LAYER_AMBIGUOUS) or compressed.size > descriptor.size:
            # What is wrong with other bytes than those of the image says nothing about the image.
            _verify(compressed, descriptor)
            raise ImageError(error.reason, f"layer {descriptor.digest[7:19]}: {error.message}") from error
        raise
    _verify(compressed, descriptor)
    if plain.digest != diff_id:
        raise ImageError(Reason.LAYER_CORRUPT, f"layer {descriptor.digest[7:19]} does not have the diff_id {diff_id}")
    return record


def _verify(compressed: HashedReader, descriptor: Descriptor) -> None:
    try:
        while compressed.read(1024 * 1024):
            pass
    except ImageError as error:
        if error.reason is not Reason.LIMIT_EXCEEDED:
            raise
    if compressed.size != descriptor.size or compressed.digest != descriptor.digest:
        raise ImageError(Reason.DIGEST_MISMATCH, f"layer {descriptor.digest} was delivered with other content", retry=True)


def _keep(interest: Interest, size: int) -> Keep | None:
    return Keep(interest, size) if interest is not NONE else None


def _path(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ImageError(Reason.LAYER_AMBIGUOUS, f"entry {name[:200]!r} leads out of its directory")
    return "/" + "/".join(parts)


def _add(record: LayerRecord, entry: TarEntry[Keep]) -> None:
    path = _path(entry.name)
    folder, _, base = path.rpartition("/")
    record.kept += len(path) + len(entry.link)
    if path == "/" and entry.type != "5":
        raise _ambiguous_error(path, "the root is no directory")
    if f"/{_WHITEOUT}" in folder:
        raise _ambiguous_error(path, "it lies below a whiteout")
    if any(attribute in key for key in entry.pax for attribute in _OVERLAY_ATTRIBUTES):
        raise _ambiguous_error(path, "its overlay attributes are obeyed by some runtimes and not by others")
    if base == _OPAQUE:
        record.opaque.add(folder or "/")
        return
    if base.startswith(_WHITEOUT):
        hidden = base.removeprefix(_WHITEOUT)
        if not hidden or hidden.startswith(_WHITEOUT) or hidden in (".", ".."):
            raise _ambiguous_error(path, "it hides nothing that can be named")
        record.whiteouts.add(f"{folder}/{hidden}")
        return
    made = _entry(entry, path)
    before = record.entries.get(path)
    both_directories = before is not None and before.kind is made.kind is FileKind.DIRECTORY
    if (before is not None or path in record.hard_links) and not both_directories:
        raise _ambiguous_error(path, "it is in the layer twice")
    if entry.type == "1":
        record.hard_links[path] = _path(entry.link)
        return
    record.kept += len(made.body or b"") + (made.object.size if isinstance(made.object, SharedObject) else 0)
    record.entries[path] = made


def _entry(entry: TarEntry[Keep], path: str) -> Entry:
    if entry.type == "5":
        return _DIRECTORY
    if entry.type == "2":
        return Entry(FileKind.SYMLINK, target=entry.link)
    if entry.type in "01":
        executable = executable_by(entry.mode)
        keep = entry.sink
        if keep is None:
            return _FILES[executable]
        return Entry(
            FileKind.FILE,
            body=keep.body,
            why_unread=keep.why_unread,
            sha256=keep.sha256,
            legacy=keep.legacy,
            head=keep.head,
            stat=FileStat(entry.size, entry.modified),
            program=keep.program,
            executable=executable,
            object=keep.shared_object(),
        )
    if entry.type == "3" and entry.device == (0, 0):
        raise _ambiguous_error(path, "a device 0:0 hides files in some runtimes and not in others")
    return _OTHER


def _ambiguous_error(path: str, why: str) -> ImageError:
    return ImageError(Reason.LAYER_AMBIGUOUS, f"entry {path[:200]!r}: {why}")
