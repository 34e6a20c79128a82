"""The fuzzers' seeds, and the inputs that once showed a fault, without the fuzzer."""

from pathlib import Path

import pytest

from tests.fuzz.seeds import CORPUS, SEEDS
from tests.fuzz.targets import TARGETS


def _inputs() -> list[Path]:
    return sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("file", _inputs(), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_reader_takes_an_input_or_refuses_it_as_it_says(file: Path) -> None:
    TARGETS[file.parent.name].takes(file.read_bytes())


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_reader_takes_one_of_its_seeds_so_that_its_fuzzer_gets_past_the_first_check(name: str) -> None:
    assert any(TARGETS[name].takes(file.read_bytes()) for file in (CORPUS / name).glob("seed-*"))


def test_the_seeds_in_the_repository_are_those_that_the_script_writes() -> None:
    written = {
        f"{name}/seed-{number}": seed.encode() if isinstance(seed, str) else seed
        for name, seeds in SEEDS.items()
        for number, seed in enumerate(seeds, start=1)
    }
    stored = {str(file.relative_to(CORPUS)): file.read_bytes() for file in CORPUS.glob("*/seed-*")}
    assert stored == written
