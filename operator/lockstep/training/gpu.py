"""The machine's NVIDIA graphics cards and their driver, for people: they are never compared."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

_VERSION = re.compile(r"(?<!\S)\d+(?:\.\d+)+(?!\S)")
_MAX_BYTES = 4096
_MAX_CARDS = 64
_MAX_NAME = 100


def gpu(root: Path = Path("/proc/driver/nvidia")) -> str | None:
    """Return models and driver version, `2x NVIDIA A100-SXM4-40GB, driver 550.54.15`; None where there is no driver.

    The files are those of the driver's README, chapter "Using the /proc File System Interface"; in a container the NVIDIA
    Container Toolkit shows those of the cards that it was given.
    """
    version = _read(root / "version")
    cards = (_read(path) for path in _cards(root / "gpus"))
    return describe_cards(version, [card for card in cards if card is not None])


def describe_cards(version: str | None, cards: Sequence[str]) -> str | None:
    """Put the texts of `version` and of each card's `information` into words; None where they say nothing."""
    driver = _driver(version or "")
    models = Counter(model for card in cards[:_MAX_CARDS] if (model := _model(card)))
    if driver is None and not models:
        return None
    names = [f"{count}x {name}" if count > 1 else name for name, count in sorted(models.items())]
    return ", ".join([*names, f"driver {driver or 'unknown'}"])


def _driver(text: str) -> str | None:
    # "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Thu Feb 22 …", also "… UNIX Open Kernel Module for x86_64  …".
    line = next((line for line in text.splitlines() if line.startswith("NVRM version:")), "")
    found = _VERSION.search(line)
    return found.group()[:_MAX_NAME] if found else None


def _model(text: str) -> str | None:
    fields = (line.partition(":") for line in text.splitlines())
    name = next((value.strip() for key, _, value in fields if key.strip() == "Model"), "")
    return "".join(char for char in name if char.isprintable())[:_MAX_NAME] or None


def _cards(folder: Path) -> Iterator[Path]:
    try:
        yield from islice((entry / "information" for entry in folder.iterdir()), _MAX_CARDS)
    except OSError:
        return


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
