"""What layers change, and how they lie on top of one another."""

import io

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.tree import EntryTree, FileKind, UnreadableFileError
from lockstep.images.image import ImageError
from lockstep.images.layers.interest import Interest
from lockstep.images.layers.layer import read_layer
from lockstep.images.layers.record import dump, load
from lockstep.images.layers.squash import Squash
from lockstep.images.limits import Limits
from tests.fakes.images import Item, Layer, directory, hard_link, layer, symlink, tar


def squash(*layers: Layer, limits: Limits | None = None, kept: int = 1 << 20) -> EntryTree:
    bounds = limits or Limits()
    found = Squash(bounds)
    for one in layers:
        blob = io.BytesIO(one.blob)
        record = read_layer(blob, one.descriptor, one.diff_id, lambda path: Interest(kept), bounds)
        found.apply(load(dump(record), 1 << 30))
    return found.tree()


def put(*items: Item) -> EntryTree:
    return squash(*(layer(item) for item in items))


def refused(*layers: Layer, limits: Limits | None = None) -> Reason:
    with pytest.raises(ImageError) as caught:
        squash(*layers, limits=limits)
    return caught.value.reason


def ambiguous(*layers: Layer) -> bool:
    return refused(*layers) is Reason.LAYER_AMBIGUOUS


A, B = Item("d/a", b"a"), Item("d/b", b"b")


def test_upper_layers_replace_files() -> None:
    assert put(A, Item("d/a", b"new")).read("/d/a") == b"new"


@pytest.mark.parametrize("name", ["d/a", "./d/a", "/d/a", "d//a", "././d/./a", "//d/a"])
def test_all_spellings_of_a_path_are_one(name: str) -> None:
    assert put(A, Item(name, b"new")).read("/d/a") == b"new"


def test_a_whiteout_hides_what_lower_layers_have() -> None:
    found = squash(layer(A, B), layer(Item("d/.wh.a")))
    assert found.read("/d/a") is None
    assert found.read("/d/b") == b"b"


def test_a_whiteout_hides_whole_directories() -> None:
    found = squash(layer(A, B, Item("d/e/f/g", b"1")), layer(Item(".wh.d")))
    assert found.listdir("/") == []
    assert found.kind("/d/e/f/g") is None


def test_a_whiteout_hides_directories_however_deep() -> None:
    deep = layer(Item("x/" * 2000 + "f", b"1"))
    assert squash(deep, layer(Item(".wh.x"))).listdir("/") == []
    assert squash(deep, layer(Item("x", b"file"))).read("/x") == b"file"


def test_a_whiteout_of_nothing_does_no_harm() -> None:
    assert squash(layer(A), layer(Item("x/y/.wh.gone"))).read("/d/a") == b"a"


def test_what_is_hidden_can_come_back_in_a_later_layer() -> None:
    assert squash(layer(A), layer(Item("d/.wh.a")), layer(Item("d/a", b"back"))).read("/d/a") == b"back"


def test_an_opaque_directory_hides_what_lower_layers_have_wherever_its_mark_stands() -> None:
    mark = Item("d/.wh..wh..opq")
    for upper in (
        layer(mark, Item("d/c", b"c")),
        layer(Item("d/c", b"c"), mark),
        layer(directory("d"), Item("d/c", b"c"), mark),
    ):
        assert squash(layer(A, B), upper).listdir("/d") == ["c"]


def test_the_root_can_be_opaque() -> None:
    assert squash(layer(A), layer(Item(".wh..wh..opq"), Item("x", b"1"))).listdir("/") == ["x"]


def test_a_file_takes_the_place_of_a_directory_and_the_reverse() -> None:
    assert put(A, Item("d", b"file")).read("/d") == b"file"
    assert put(A, Item("d", b"file")).kind("/d/a") is None
    assert squash(layer(Item("d", b"file")), layer(directory("d"), A)).read("/d/a") == b"a"
    assert squash(layer(Item("d", b"file")), layer(A, directory("d"))).read("/d/a") == b"a"


def test_a_link_takes_the_place_of_a_directory() -> None:
    found = squash(layer(A, Item("e/a", b"other")), layer(symlink("d", "e")))
    assert found.read("/d/a") == b"other"


def test_a_directory_over_a_directory_keeps_its_files() -> None:
    assert put(A, directory("d"), directory("./d")).read("/d/a") == b"a"


def test_a_directory_may_stand_in_a_layer_twice() -> None:
    assert squash(layer(directory("d"), A, directory("d"))).read("/d/a") == b"a"


def test_hard_links_have_the_body_of_their_target() -> None:
    assert squash(layer(A, hard_link("x", "d/a"), hard_link("y", "./x"))).read("/y") == b"a"
    assert squash(layer(A), layer(hard_link("x", "/d/a"))).read("/x") == b"a"
    assert squash(layer(A), layer(hard_link("x", "d/a"), Item("d/a", b"new"))).read("/x") == b"new"


def test_hard_links_to_nothing_or_to_a_directory_are_refused() -> None:
    assert ambiguous(layer(hard_link("x", "gone")))
    assert ambiguous(layer(A, hard_link("x", "d")))
    assert ambiguous(layer(A), layer(hard_link("x", "d/a"), Item("d/.wh.a")))
    assert ambiguous(layer(A, hard_link("x", "../d/a")))


def test_a_hard_link_to_a_body_that_was_not_kept_can_not_be_read() -> None:
    one = layer(Item("blob", b"x"), hard_link("METADATA", "blob"))
    keeping = (one.descriptor, one.diff_id, lambda path: Interest(99 * (path != "/blob")))
    record = read_layer(io.BytesIO(one.blob), *keeping, Limits())
    found = Squash(Limits())
    found.apply(record)
    with pytest.raises(UnreadableFileError):
        found.tree().read("/METADATA")


def test_hiding_and_holding_one_path_in_a_layer_is_refused() -> None:
    assert ambiguous(layer(A), layer(Item("d/.wh.a"), Item("d/a", b"new")))
    assert ambiguous(layer(A), layer(Item("d/a", b"new"), Item("d/.wh.a")))
    assert ambiguous(layer(A), layer(B, hard_link("d/a", "d/b"), Item("d/.wh.a")))
    assert ambiguous(layer(A), layer(Item(".wh.d"), Item("d/x/y", b"new")))
    assert ambiguous(layer(A), layer(Item(".wh.d"), Item("d/.wh.a")))
    assert ambiguous(layer(A), layer(Item("d/.wh..wh..opq"), Item(".wh.d")))
    assert ambiguous(layer(Item("d/x/y", b"new"), Item(".wh.d")))


@pytest.mark.parametrize("name", [".wh.", "d/.wh.", ".wh..wh.plnk", ".wh...", ".wh..", ".wh.d/a", "d/.wh.x/y"])
def test_whiteouts_that_name_nothing_are_refused(name: str) -> None:
    assert ambiguous(layer(Item(name)))


def test_one_path_twice_in_a_layer_is_refused() -> None:
    assert ambiguous(layer(A, Item("./d/a", b"other")))
    assert ambiguous(layer(A, hard_link("d/a", "x")))
    assert ambiguous(layer(A, hard_link("x", "d/a"), Item("x")))
    assert ambiguous(layer(directory("d"), Item("d", b"file")))
    assert ambiguous(layer(symlink("d", "e"), directory("d")))


@pytest.mark.parametrize("name", ["../x", "d/../x", "/..", "d/.."])
def test_paths_that_lead_out_are_refused(name: str) -> None:
    assert ambiguous(layer(Item(name)))


def test_overlay_attributes_are_refused() -> None:
    for key in ("trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.opaque", "user.containers.override_stat"):
        for item in (directory("d", pax={f"SCHILY.xattr.{key}": "y"}), Item("d/.wh.a", pax={f"LIBARCHIVE.xattr.{key}": "y"})):
            assert ambiguous(layer(item))
    assert squash(layer(directory("d", pax={"SCHILY.xattr.user.mine": "y"}))).kind("/d") is FileKind.DIRECTORY


def test_a_device_that_hides_is_refused_and_others_are_not() -> None:
    assert ambiguous(layer(Item("d/a", type="3", device=(0, 0))))
    assert squash(layer(Item("dev/null", type="3", device=(1, 3)))).kind("/dev/null") is FileKind.OTHER
    assert squash(layer(Item("dev/sda", type="4", device=(8, 0)), Item("fifo", type="6"))).kind("/fifo") is FileKind.OTHER


def test_a_path_through_a_lower_layers_link_is_refused() -> None:
    base = layer(A, symlink("lnk", "d"))
    assert ambiguous(base, layer(Item("lnk/a", b"evil")))
    assert ambiguous(base, layer(directory("lnk"), Item("lnk/a", b"evil")))
    assert ambiguous(base, layer(Item("lnk/.wh.a")))
    assert ambiguous(base, layer(Item("lnk/x/.wh.a")))
    assert ambiguous(base, layer(Item("lnk/.wh..wh..opq")))
    assert ambiguous(base, layer(hard_link("lnk/x", "d/a")))


def test_a_path_through_a_link_of_the_same_layer_is_refused() -> None:
    assert ambiguous(layer(A), layer(symlink("lnk", "d"), Item("lnk/a", b"evil")))
    assert ambiguous(layer(A), layer(Item("lnk/a", b"evil"), symlink("lnk", "d")))
    assert ambiguous(layer(A), layer(Item("f", b""), Item("f/a", b"evil")))
    assert ambiguous(layer(A), layer(hard_link("h", "d/a"), Item("h/a", b"evil")))


def test_a_path_far_below_a_file_or_a_link_of_the_same_layer_is_refused() -> None:
    for front in (Item("f", b""), symlink("f", "d")):
        assert ambiguous(layer(front, Item("f/x/y/z", b"evil")))
        assert ambiguous(layer(Item("f/x/y/z", b"evil"), front))
        assert ambiguous(layer(Item("f", b"")), layer(front, Item("f/x/y/z", b"evil")))
    assert ambiguous(layer(A, hard_link("h", "d/a"), Item("h/x/y", b"evil")))


def test_hiding_something_below_a_file_or_a_link_of_the_same_layer_is_refused() -> None:
    for upper in (Item("d", b"file"), symlink("d", "e"), hard_link("d", "c")):
        for mark in ("d/.wh.a", "d/.wh..wh..opq", "d/x/.wh.a"):
            assert ambiguous(layer(A), layer(Item("c", b"c"), upper, Item(mark)))


def test_a_path_below_a_lower_layers_file_is_refused() -> None:
    assert ambiguous(layer(Item("f", b"")), layer(Item("f/x", b"")))


def test_the_root_is_a_directory() -> None:
    assert squash(layer(directory("./"), A)).read("/d/a") == b"a"
    assert ambiguous(layer(symlink("./", "/evil"), A))
    assert ambiguous(layer(Item(".", b"x")))


def test_a_body_beyond_its_limit_is_not_kept_and_says_so() -> None:
    found = squash(layer(Item("big", b"x" * 11), Item("small", b"x" * 10)), kept=10)
    assert found.read("/small") == b"x" * 10
    with pytest.raises(UnreadableFileError, match="it has 11 bytes, the limit for such a file is 10"):
        found.read("/big")


def test_an_empty_file_is_kept() -> None:
    assert squash(layer(Item("empty"))).read("/empty") == b""


@pytest.mark.parametrize("kind", ["", "gzip", "zstd"])
def test_other_bytes_than_the_descriptors_say_nothing_about_the_image_and_may_be_tried_again(kind: str) -> None:
    one, other = layer(A, kind=kind), layer(B, kind=kind)
    delivered = (one.blob[:-5], one.blob[:20], b"", one.blob + b"x", one.blob + bytes(512), other.blob, b"<html>" * 9)
    for body in delivered:
        with pytest.raises(ImageError) as caught:
            read_layer(io.BytesIO(body), one.descriptor, one.diff_id, lambda path: Interest(0), Limits())
        assert caught.value.reason is Reason.DIGEST_MISMATCH
        assert caught.value.retry


def test_a_diff_id_that_the_layer_does_not_have_is_refused() -> None:
    one, other = layer(A), layer(B)
    assert refused(Layer(other.blob, one.media_type, one.diff_id)) is Reason.LAYER_CORRUPT


def test_names_that_are_no_utf_8_can_be_shown() -> None:
    with pytest.raises(ImageError) as caught:
        squash(layer(symlink("caf\udce9", "d")), layer(Item("caf\udce9/.wh.x")))
    caught.value.message.encode()
    str(caught.value).encode()


def test_the_number_of_entries_is_bounded_over_all_layers() -> None:
    few = layer(*(Item(f"f{n}") for n in range(6)))
    more = layer(*(Item(f"g{n}") for n in range(6)))
    assert refused(few, more, limits=Limits(entries=10)) is Reason.LIMIT_EXCEEDED
    squash(few, more, limits=Limits(entries=12))


def test_what_is_kept_is_bounded_over_all_layers() -> None:
    one, two = layer(Item("a", b"x" * 600)), layer(Item("b", b"x" * 600))
    assert refused(one, two, limits=Limits(kept=1000)) is Reason.LIMIT_EXCEEDED


def test_parents_that_are_left_out_are_bounded_too() -> None:
    deep = layer(*(Item(f"{n}/" + "x/" * 2000 + "f") for n in range(10)), kind="zstd")
    assert refused(deep, limits=Limits(kept=1_000_000)) is Reason.LIMIT_EXCEEDED


def test_whiteouts_count_as_names() -> None:
    many = layer(*(Item(f".wh.{n:0100d}") for n in range(100)))
    assert refused(many, limits=Limits(kept=5000)) is Reason.LIMIT_EXCEEDED


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb_ends_at_the_limit(kind: str) -> None:
    data = tar(Item("zeros", bytes(64 << 20)))
    bomb = layer(Item("zeros", bytes(64 << 20)), kind=kind)
    assert len(bomb.blob) < len(data) // 50
    assert refused(bomb, limits=Limits(uncompressed=8 << 20)) is Reason.LIMIT_EXCEEDED
