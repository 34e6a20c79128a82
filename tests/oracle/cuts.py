"""Random root file systems, cut into random layers, as builders would write them."""

from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.fakes.images import Item, Layer, directory, hard_link, layer, symlink, tar

_NAMES = ("a", "b", "lib", "usr", ".x", "é")
_PATHS = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=4).map("/".join)
_TARGETS = ("a", "../b", "/usr", "nowhere", ".")
_WHAT = ("file", "file", "directory", "link", "hard link", "gone", "gone", "opaque")


@dataclass(frozen=True)
class Cut:
    """An image as the entries of its layers, each with its compression."""

    entries: tuple[tuple[Item, ...], ...]
    kinds: tuple[str, ...]

    def layers(self) -> list[Layer]:
        """Return the layers as a registry holds them."""
        return [layer(*items, kind=kind) for items, kind in zip(self.entries, self.kinds, strict=True)]

    def archives(self) -> list[bytes]:
        """Return the layers without compression."""
        return [tar(*items) for items in self.entries]


@dataclass
class _Step:
    """One layer in the making: what it holds by path, and the tree as it will be (`f`ile, `d`irectory, `l`ink)."""

    draw: st.DrawFn
    tree: dict[str, str]
    made: dict[str, Item] = field(default_factory=dict)

    def fits(self, path: str) -> bool:
        """Return whether a builder could write this path into the layer: nothing at it, below it, or in its way yet."""
        parents = _parents(path)
        taken = path in self.made or any(one.startswith(f"{path}/") for one in self.made)
        blocked = any(self.tree.get(parent, "d") != "d" for parent in parents)
        return not taken and not blocked and all(self.made[p].type == "5" for p in parents if p in self.made)

    def change(self, path: str) -> None:
        """Draw a change of one path."""
        folder, slash, base = path.rpartition("/")
        match self.draw(st.sampled_from(_WHAT)):
            case "gone" if path in self.tree:
                self.made[path] = Item(f"{folder}{slash}.wh.{base}")
                self._drop(path)
            case "opaque" if self.tree.get(path) == "d":
                self.made[f"{path}/.wh..wh..opq"] = Item(f"{path}/.wh..wh..opq")
                self._drop(path)
                self._put(path, "d")
            case "directory" if self.tree.get(path) in (None, "f", "d"):
                self.made[path] = directory(path)
                self._put(path, "d")
            case "link":
                self._replace(path, symlink(path, self.draw(st.sampled_from(_TARGETS))), "l")
            case "hard link" if files := sorted(one for one, item in self.made.items() if self._is_file(one, item)):
                self._replace(path, hard_link(path, self.draw(st.sampled_from(files))), "f")
            case "file":
                self._replace(path, Item(path, self.draw(st.binary(max_size=8))), "f")

    def items(self) -> tuple[Item, ...]:
        """Return the layer: directories first and hard links last, as every builder has them, the rest in any order."""
        drawn = self.draw(st.permutations(list(self.made.values())))
        return tuple(sorted(drawn, key=lambda item: {"5": 0, "1": 2}.get(item.type, 1)))

    def _is_file(self, path: str, item: Item) -> bool:
        return item.type == "0" and self.tree.get(path) == "f"

    def _replace(self, path: str, item: Item, kind: str) -> None:
        self.made[path] = item
        self._drop(path)
        self._put(path, kind)

    def _drop(self, path: str) -> None:
        for one in [one for one in self.tree if one == path or one.startswith(f"{path}/")]:
            del self.tree[one]

    def _put(self, path: str, kind: str) -> None:
        self.tree[path] = kind
        for parent in _parents(path):
            self.tree.setdefault(parent, "d")


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:number]) for number in range(1, len(parts))]


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    """Draw an image."""
    tree: dict[str, str] = {}
    layers: list[tuple[Item, ...]] = []
    merged: bool = draw(st.booleans())
    if merged:
        # As Debian has it since usr was merged.
        layers.append((directory("usr"), directory("usr/lib"), Item("usr/lib/a", b"merged"), symlink("lib", "usr/lib")))
        tree = {"usr": "d", "usr/lib": "d", "usr/lib/a": "f", "lib": "l"}
    for _ in range(draw(st.integers(1, 4))):
        step = _Step(draw, tree)
        for _ in range(draw(st.integers(1, 6))):
            known = draw(st.booleans()) and bool(tree)
            path = draw(st.sampled_from(sorted(tree)) if known else _PATHS)
            # Now and then what no builder would write: the scan may refuse it, but it may not see another tree.
            bold = draw(st.integers(0, 9)) == 0
            if step.fits(path) or (bold and path not in step.made):
                step.change(path)
        layers.append(step.items())
    return Cut(tuple(layers), tuple(draw(st.sampled_from(["", "gzip", "zstd"])) for _ in layers))
