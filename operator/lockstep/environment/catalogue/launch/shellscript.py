"""The few forms of shell script that are understood: simple commands of literal words, one after another.

A word may hold `$NAME` or `${NAME}`, and be `"$@"` as a whole. Commands are joined by line ends or `&&`. Whatever else the
shell's grammar allows (POSIX XCU 2) is refused rather than guessed.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

ARGUMENTS = '"$@"'
"""The word that stands for the script's arguments."""
_VARIABLE = r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})"
_BARE = r"[A-Za-z0-9_./:=,@%+-]"
_PART = rf"""'[^'\n\0]*'|"(?:[^"\\`$\n\0]|{_VARIABLE})*"|{_VARIABLE}|{_BARE}+"""
_TOKEN = re.compile(
    rf"(?P<space>(?:[ \t]|\\\n)*[ \t](?:[ \t]|\\\n)*)|(?P<comment>\#[^\n]*)|(?P<end>\n|&&)|(?P<word>\"\$@\"|(?:{_PART})+)"
)
_PARTS = re.compile(_PART)
_EXPANSION = re.compile(_VARIABLE)
_RESERVED = frozenset(
    (
        "if",
        "then",
        "else",
        "elif",
        "fi",
        "do",
        "done",
        "case",
        "esac",
        "while",
        "until",
        "for",
        "in",
        "function",
        "select",
        "time",
    )
)


class NotUnderstoodError(ValueError):
    """The text has something that is not followed; the message says what."""


@dataclass(frozen=True)
class Word:
    """One word of a command, its quotes not yet removed."""

    raw: str

    @property
    def literal(self) -> str | None:
        """The word without its quotes; None when it depends on a variable."""
        return None if self.raw == ARGUMENTS or self._has_variables() else self.expand(lambda _: "")

    def _has_variables(self) -> bool:
        return any(not part.startswith("'") and _EXPANSION.search(part) for part in _PARTS.findall(self.raw))

    def expand(self, value: Callable[[str], str]) -> str:
        """Return the word with its quotes removed and its variables replaced.

        Args:
            value: gives the value of a variable by its name.

        Raises:
            NotUnderstoodError: a value would be split into words, or leave none.
        """
        text = "".join(_expand_part(part, value) for part in _PARTS.findall(self.raw))
        if not text and self.raw.startswith("$") and not re.search("['\"]", self.raw):
            raise NotUnderstoodError("a word without quotes is empty, and so is none")
        return text


def _expand_part(part: str, value: Callable[[str], str]) -> str:
    if part.startswith("'"):
        return part[1:-1]
    if part.startswith('"'):
        return _EXPANSION.sub(lambda match: value(match[0].strip("${}")), part[1:-1])
    if not part.startswith("$"):
        return part
    text = value(part.strip("${}"))
    if re.search(r"[\s*?\[\\]", text):
        raise NotUnderstoodError("a value without quotes has blanks or wildcards")
    return text


Command = tuple[Word, ...]


def commands(text: str) -> tuple[Command, ...]:
    """Split a script into its simple commands.

    Raises:
        NotUnderstoodError: it holds anything else.
    """
    script: list[Command] = []
    words: list[Word] = []
    at, before = 0, "end"
    while at < len(text):
        token = _TOKEN.match(text, at)
        kind = token.lastgroup if token else None
        # Without a blank between them, a comment or a second word would be part of the first.
        if token is None or (before == "word" and kind in ("word", "comment")):
            line = text[at:].partition("\n")[0][:80]
            raise NotUnderstoodError(f"it is a shell script that does more than set literal variables and start one: {line!r}")
        if kind == "word":
            words.append(Word(token[0]))
        elif kind == "end" and words:
            script.append(tuple(words))
            words = []
        at, before = token.end(), str(kind)
    if words:
        script.append(tuple(words))
    for command in script:
        if command[0].raw in _RESERVED:
            raise NotUnderstoodError(f"it is a shell script with {command[0].raw!r}")
    return tuple(script)
