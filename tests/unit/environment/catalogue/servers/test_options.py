"""Command lines as click and argparse read them."""

import argparse
from collections.abc import Sequence

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.environment.catalogue.servers.options import NotReadError, Options, Words, read

CLICK = Options.of("--app-dir --port -p", "--reload --no-reload -v")
ARGPARSE = Options.of("--chdir --pythonpath --config -c -w", "--reload --preload -D", argparse=True)


def words(text: str, known: Options = CLICK) -> Words:
    return read(text.split(), known)


def test_the_last_value_of_an_option_counts_in_any_of_its_spellings() -> None:
    assert words("--app-dir a main:app --app-dir=b").last("--app-dir") == "b"
    assert words("-p1 x -vp 2").last("--port", "-p") == "2"
    assert words("x").last("--app-dir") is None


def test_what_follows_two_dashes_is_no_option() -> None:
    found = words("--reload -- --app-dir x")
    assert (found.options, found.arguments) == ((("--reload", ""),), ("--app-dir", "x"))


def test_an_option_may_be_the_value_of_the_one_before() -> None:
    assert words("--port --app-dir /evil main:app").last("--app-dir") is None


def test_an_unknown_option_that_may_take_the_next_one_as_its_value_is_not_read() -> None:
    with pytest.raises(NotReadError, match=r"--new is not known"):
        words("--new --app-dir x")
    assert words("--new=1 --app-dir x").last("--app-dir") == "x"
    assert words("--new x --app-dir y").last("--app-dir") == "y"
    with pytest.raises(NotReadError):
        words("--new x y").argument()


def test_argparse_takes_names_that_are_cut_short_and_no_value_that_begins_with_a_dash() -> None:
    assert words("--pyth /x app", ARGPARSE).last("--pythonpath") == "/x"
    assert words("--unknown --chdir /x", ARGPARSE).last("--chdir") == "/x"
    assert words("-Dc=/x", ARGPARSE).last("-c") == "/x"


WORDS = st.lists(
    st.sampled_from(
        ["--app-dir", "--app-dir=x", "--port", "-p", "-p1", "-v", "-vp", "--reload", "--no-reload", "--", "a", "b"]
    ),
    max_size=6,
)


@settings(max_examples=300)
@given(WORDS)
def test_what_click_takes_is_read_as_click_reads_it(argv: list[str]) -> None:
    theirs = _click(argv)
    if theirs is not None:
        found = read(argv, CLICK)
        assert (found.last("--app-dir"), found.last("--port", "-p"), list(found.arguments)) == theirs


def _click(argv: Sequence[str]) -> tuple[str | None, str | None, list[str]] | None:
    said: list[tuple[str | None, str | None, list[str]]] = []

    @click.command()
    @click.option("--app-dir")
    @click.option("--port", "-p")
    @click.option("--reload/--no-reload")
    @click.option("-v", "verbose", count=True)
    @click.argument("rest", nargs=-1)
    def command(app_dir: str | None, port: str | None, reload: bool, verbose: int, rest: tuple[str, ...]) -> None:
        said.append((app_dir, port, list(rest)))

    try:
        command.main(list(argv), standalone_mode=False)
    except click.UsageError:
        return None
    return said[0]


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(["--chdir", "--ch", "--py=x", "--conf", "-c", "-cx", "-Dcy", "-w", "--reload", "--", "a"]), max_size=6
    )
)
def test_what_argparse_takes_is_read_as_argparse_reads_it(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    for names in (("--chdir",), ("--pythonpath",), ("--config", "-c"), ("-w",)):
        parser.add_argument(*names)
    for names in (("--reload",), ("--preload",), ("-D",)):
        parser.add_argument(*names, action="store_true")
    parser.add_argument("rest", nargs="*")
    try:
        theirs, more = parser.parse_known_args(argv)
    except argparse.ArgumentError:
        return
    if not more:
        found = read(argv, ARGPARSE)
        assert (found.last("--chdir"), found.last("--pythonpath")) == (theirs.chdir, theirs.pythonpath)
        assert found.last("--config", "-c") == theirs.config
