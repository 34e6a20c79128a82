"""What is said of graphics cards, from the texts of NVIDIA's driver."""

from pathlib import Path

import pytest

from lockstep.training.gpu import describe_cards, gpu

CLOSED = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Thu Feb 22 03:34:00 UTC 2024
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)
"""
OPEN = """NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22)  Tue Sep 23 2025
GCC version:  gcc version 14.2.1 20240801
"""
JETSON = "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  TempVersion  Release Build  Tue Dec 30 15:54:35 PST 2025\n"


def card(model: str) -> str:
    return f"Model: \t\t {model}\nIRQ:   \t\t 42\nGPU UUID: \t GPU-00000000-0000-0000-0000-000000000000\nBus Type: \t PCIe\n"


@pytest.mark.parametrize(
    ("version", "cards", "said"),
    [
        (CLOSED, [card("NVIDIA A100-SXM4-40GB")], "NVIDIA A100-SXM4-40GB, driver 550.54.15"),
        (OPEN, [card("NVIDIA L4"), card("NVIDIA H100"), card("NVIDIA L4")], "NVIDIA H100, 2x NVIDIA L4, driver 580.95.05"),
        (JETSON, [card("Orin")], "Orin, driver unknown"),
        (CLOSED, [], "driver 550.54.15"),
        (None, [card("NVIDIA L4")], "NVIDIA L4, driver unknown"),
        (None, [], None),
        ("", ["", "Model:\n", ":::\n", "\x00"], None),
        ("GCC version: 11.4.0\n", [], None),
    ],
)
def test_models_and_driver_are_said(version: str | None, cards: list[str], said: str | None) -> None:
    assert describe_cards(version, cards) == said


def test_what_is_said_is_bounded_and_can_be_printed() -> None:
    said = describe_cards(f"NVRM version: {'1.' * 2000}1\n", [card(f"\x1b[31m{number}{'x' * 4000}") for number in range(2000)])
    assert said is not None
    assert said.isprintable()
    assert said.count("[31m") == 64
    assert len(said) < 65 * 110


def test_files_are_read_where_there_are_some(tmp_path: Path) -> None:
    assert gpu(tmp_path) is None
    (tmp_path / "version").write_text(CLOSED + "x" * 100_000)
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / bus).mkdir(parents=True)
        (tmp_path / "gpus" / bus / "information").write_bytes(card("NVIDIA L4").encode() + b"\xff" * 100_000)
    (tmp_path / "gpus/0000:03:00.0").mkdir()
    assert gpu(tmp_path) == "2x NVIDIA L4, driver 550.54.15"


def test_a_driver_that_can_not_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "version").mkdir()
    (tmp_path / "gpus").write_text("")
    assert gpu(tmp_path) is None
