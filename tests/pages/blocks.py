"""The fenced blocks of a page. The first word behind the fence is the language, the rest says what the block is for."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block: commands (`bash`), or a file that its second word names."""

    language: str
    words: tuple[str, ...]
    text: str

    @property
    def is_file(self) -> bool:
        return self.language not in ("bash", "text", "console", "mermaid") and len(self.words) == 1


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in order."""
    return [Block(found[1], tuple(found[2].split()), found[3]) for found in _FENCE.finditer(page.read_text())]


def script(found: Iterable[Block], kinds: set[str], *, replaced: dict[str, str] | None = None) -> str:
    """Return the commands of some kinds, and all files, as one script. A block marked `refused` has to end with 1.

    Args:
        found: the blocks of a page.
        kinds: which blocks are run, by the word behind `bash`.
        replaced: what is written otherwise here than on the page.
    """
    parts = ["set -euo pipefail"]
    for number, block in enumerate(found):
        text = block.text
        for before, after in (replaced or {}).items():
            text = text.replace(before, after)
        if block.is_file:
            parts.append(f"cat > {block.words[0]} <<'END_OF_FILE'\n{text}END_OF_FILE")
        elif block.language == "bash" and kinds & set(block.words):
            parts.append(f"echo '━━ block {number}: bash {' '.join(block.words)}' >&2")
            refused = f"status=0; ( set -e\n{text}) || status=$?\n[ $status = 1 ] || exit 90"
            parts.append(refused if "refused" in block.words else text)
    return "\n".join(parts) + "\n"
