"""docs/threat-model.md is a list of tests: every row names those that show it, and every reason it names exists."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from lockstep.api.reasons import EventReason, Reason

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "threat-model.md"
PARTIES = ("Who deploys", "Who trains", "Who pushes images", "Cluster administrators", "Nodes, registries, MLflow")
_TEST = re.compile(r"`([a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")


def rows() -> Iterator[tuple[str, ...]]:
    """Yield the cells of every row of every table that has a column of tests."""
    header: tuple[str, ...] | None = None
    for line in PAGE.read_text().splitlines():
        if not line.startswith("|"):
            header = None
            continue
        cells = tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        if header is None:
            header = cells
        elif header[-1] == "tests" and not set(line) <= set("|-: "):
            yield cells


ROWS = list(rows())


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((REPOSITORY / "tests" / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_the_page_has_its_tables() -> None:
    assert len(ROWS) > 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0])[:60])
def test_every_row_names_tests_that_exist(row: tuple[str, ...]) -> None:
    named = _TEST.findall(row[-1])
    assert named, f"no test is named: {row[0]}"
    missing = [f"{file}::{name}" for file, name in named if name not in functions(file)]
    assert missing == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0])[:60])
def test_every_reason_in_a_row_exists(row: tuple[str, ...]) -> None:
    named = re.findall(r"`([^`]+)`", row[-2])
    assert [reason for reason in named if reason not in {*map(str, Reason), *map(str, EventReason)}] == []


@pytest.mark.parametrize("party", PARTIES)
def test_of_every_party_the_page_says_what_is_not_covered(party: str) -> None:
    text = PAGE.read_text()
    assert f"### {party}\n" in text
    part = text.partition(f"### {party}\n")[2].partition("\n### ")[0].partition("\n## ")[0]
    assert "Not covered:" in part
    assert re.search(r"Not covered:\n\n- \S", part), "what is not covered is a list"
