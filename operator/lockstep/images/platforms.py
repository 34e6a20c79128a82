"""Which entries of an index run on a platform, as containerd chooses them (containerd/platforms, `Normalize` and `Only`).

A node of amd64 runs what asks for no newer level of the instruction set than its own, a node of arm v7 runs v6 and v5 too. The
nearest level is taken.
"""

import re

from lockstep.images.image import ImagePlatform

_ARCHITECTURES = {
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "i386": ("386", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_FIRST = {"amd64": "v1", "arm64": "v8"}
"""The level that an architecture has where none is named."""
_ARM = ("v7", "v6", "v5")


def normalized(platform: ImagePlatform) -> ImagePlatform:
    """Return the platform with one name for one thing: `arm64/v8` is `arm64`, `aarch64` is `arm64`, `arm` is `arm/v7`."""
    architecture = platform.architecture.lower()
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, None))
    variant = (platform.variant or implied or "").lower()
    variant = f"v{variant}" if re.fullmatch(r"[0-9]+", variant) else variant
    if architecture == "arm":
        variant = variant or "v7"
    elif variant == _FIRST.get(architecture):
        variant = ""
    return ImagePlatform(platform.os.lower(), architecture, variant or None)


def runnable(platform: ImagePlatform) -> tuple[ImagePlatform, ...]:
    """Return what a node of this platform runs, normalized, the best first."""
    node = normalized(platform)
    return tuple(ImagePlatform(node.os, node.architecture, variant) for variant in _variants(node))


def _variants(node: ImagePlatform) -> tuple[str | None, ...]:
    if node.architecture == "arm" and node.variant in _ARM:
        return _ARM[_ARM.index(node.variant) :]
    if node.architecture == "amd64" and node.variant is not None and re.fullmatch(r"v[2-9]", node.variant):
        return (*(f"v{level}" for level in range(int(node.variant[1:]), 1, -1)), None)
    if node.architecture == "arm64" and node.variant is not None:
        return (node.variant, None)
    return (node.variant,)
