"""docs/architecture.md says what is so: its tests, contracts, packages and files exist, and none is left out."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text()
CODE = REPOSITORY / "operator" / "lockstep"
INVARIANTS = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
PACKAGES = sorted(path.parent.name for path in CODE.glob("*/__init__.py"))


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((REPOSITORY / "tests" / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_the_invariants_are_numbered() -> None:
    assert [number for number, *_ in INVARIANTS] == [str(number) for number in range(1, 11)]


@pytest.mark.parametrize(("number", "_", "tests"), INVARIANTS)
def test_every_invariant_names_tests_that_exist(number: str, _: str, tests: str) -> None:
    named = re.findall(r"`([a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`", tests)
    assert named
    assert [name for file, name in named if name not in functions(file)] == []


def test_every_import_contract_is_listed() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    for contract in settings["tool"]["importlinter"]["contracts"]:
        assert f"- {contract['name']}.\n" in PAGE


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_its_paragraph(package: str) -> None:
    assert re.search(rf"^(?:\*\*`\w+`\*\* and )?\*\*`{package}`\*\*", PAGE, re.MULTILINE)


@pytest.mark.parametrize("package", sorted({path.parent for path in CODE.rglob("*.py")}), ids=lambda path: path.name)
def test_a_package_has_no_more_modules_than_one_can_survey(package: Path) -> None:
    modules = [path for path in package.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= 12


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z0-9_]+(?:/[a-z0-9_]+)+(?:\.py|/)?)`", PAGE))))
def test_every_file_that_is_named_exists(path: str) -> None:
    place = CODE / path.removesuffix(".py")
    assert place.is_dir() or place.with_suffix(".py").is_file() or (REPOSITORY / path).exists(), path
