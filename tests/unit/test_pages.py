"""What the pages tell people to write is what there is: commands, targets, manifests and links."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from lockstep.cli.admission.admission import problems_of
from lockstep.cli.main import parser
from tests.pages.blocks import Block, blocks

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [(page, block) for page in PAGES for block in blocks(page)]
SHELL = [(page, block) for page, block in BLOCKS if block.language == "bash"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text() + (ROOT / "cluster.mk").read_text(), re.MULTILINE))


def named(of: list[tuple[Path, Block]]) -> pytest.MarkDecorator:
    ids = [f"{page.relative_to(ROOT)}-{number}" for number, (page, _) in enumerate(of)]
    return pytest.mark.parametrize(("page", "block"), of, ids=ids)


@named(SHELL)
def test_what_is_to_be_typed_is_what_a_shell_can_read(page: Path, block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


@named(SHELL)
def test_every_command_of_ours_takes_the_arguments_that_it_is_given(page: Path, block: Block) -> None:
    text = block.text.replace("\\\n", " ")
    for line in re.findall(r"^(?:kubectl )?lockstep ([^\n#|>]*)", text, re.MULTILINE):
        parser().parse_args([word.strip("\"'") for word in line.split()])
    for target in re.findall(r"^make (?:-C \S+ )?([a-z-]+)", text, re.MULTILINE):
        assert target in TARGETS


@named([(page, block) for page, block in BLOCKS if block.language == "yaml"])
def test_every_manifest_of_ours_is_one_that_the_api_server_takes(page: Path, block: Block) -> None:
    for document in yaml.safe_load_all(block.text):
        if document.get("kind") in ("ModelDeployment", "PromotionPolicy"):
            assert problems_of(document) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", text):
        other = (page.parent / target).resolve() if target else page
        assert other.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", other.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}, anchor
