"""Reads command lines as click and argparse do, the two libraries that the known servers are written with."""

from collections.abc import Sequence
from dataclasses import dataclass


class NotReadError(ValueError):
    """A command line has something whose meaning is not known; the message says what."""


@dataclass(frozen=True)
class Options:
    """The options of one command."""

    valued: frozenset[str]
    """Those that take a value, with their dashes."""
    flags: frozenset[str]
    """Those that take none."""
    argparse: bool = False
    """Whether argparse reads them: long names may be cut short, and no value begins with a dash."""

    @classmethod
    def of(cls, valued: str, flags: str = "", *, argparse: bool = False) -> "Options":
        """Return the options named in two texts, parted by blanks."""
        return cls(frozenset(valued.split()), frozenset(flags.split()), argparse)


@dataclass(frozen=True)
class Words:
    """What a command line says."""

    options: tuple[tuple[str, str], ...]
    """Known options in their order, each with its value; of a flag it is empty."""
    arguments: tuple[str, ...]
    """The words that are no option and no option's value."""
    unknown: str | None = None
    """An unknown option that may have taken one of the arguments as its value."""

    def last(self, *names: str) -> str | None:
        """Return the value of the last option with one of these names; None where there is none."""
        return next((value for name, value in reversed(self.options) if name in names), None)

    def has(self, *names: str) -> bool:
        """Return whether an option with one of these names is there."""
        return any(name in names for name, _ in self.options)

    def argument(self) -> str | None:
        """Return the first argument; None where there is none.

        Raises:
            NotReadError: an unknown option may have taken it.
        """
        if self.unknown is not None:
            raise NotReadError(f"its option {self.unknown[:80]} is not known")
        return self.arguments[0] if self.arguments else None


def read(words: Sequence[str], known: Options) -> Words:
    """Read a command line.

    Raises:
        NotReadError: whether an option is another one's value depends on an option that is not known.
    """
    return _Reader(words, known).read()


class _Reader:
    def __init__(self, words: Sequence[str], known: Options) -> None:
        self._rest = list(words)
        self._known = known
        self._options: list[tuple[str, str]] = []
        self._arguments: list[str] = []
        self._unknown: str | None = None

    def read(self) -> Words:
        while self._rest:
            word = self._rest.pop(0)
            if word == "--":
                self._arguments += self._rest
                break
            if word.startswith("--"):
                self._read_long(word)
            elif word.startswith("-") and len(word) > 1:
                self._read_short(word)
            else:
                self._arguments.append(word)
        return Words(tuple(self._options), tuple(self._arguments), self._unknown)

    def _read_long(self, word: str) -> None:
        stated, equals, value = word.partition("=")
        name = self._full_name(stated)
        if name in self._known.valued:
            self._options.append((name, value if equals else self._next_word()))
        elif name in self._known.flags:
            self._options.append((name, ""))
        elif not equals:
            self._note_unknown(stated)

    def _full_name(self, name: str) -> str:
        every = self._known.valued | self._known.flags
        if name in every or not self._known.argparse:
            return name
        # Of several that begin so argparse takes none, and the program does not start: whichever counts.
        return min((one for one in every if one.startswith(name)), default=name)

    def _read_short(self, word: str) -> None:
        for at, letter in enumerate(word[1:], start=2):
            name = f"-{letter}"
            if name in self._known.valued:
                value = word[at:].removeprefix("=") if self._known.argparse else word[at:]
                self._options.append((name, value if word[at:] else self._next_word()))
                return
            if name not in self._known.flags:
                self._note_unknown(name)
                return
            self._options.append((name, ""))

    def _next_word(self) -> str:
        return self._rest.pop(0) if self._rest else ""

    def _note_unknown(self, name: str) -> None:
        self._unknown = name
        if not self._known.argparse and self._rest and self._rest[0].startswith("-"):
            raise NotReadError(f"its option {name[:80]} is not known, so that {self._rest[0][:80]} may be its value")
