"""Which shell scripts are understood."""

import pytest

from lockstep.environment.catalogue.launch.shellscript import NotUnderstoodError, commands


def words(text: str) -> list[list[str | None]]:
    return [[word.literal for word in command] for command in commands(text)]


def test_commands_are_split_at_line_ends_and_at_and() -> None:
    assert words("set -e\ncd /app && exec python serve.py\n") == [["set", "-e"], ["cd", "/app"], ["exec", "python", "serve.py"]]


def test_comments_and_empty_lines_are_nothing() -> None:
    assert words("#!/bin/sh\n\n  # a; b | c `d` \\\na # b\n") == [["a"]]


def test_a_backslash_does_not_continue_a_comment() -> None:
    assert words("# comment \\\nevil\n") == [["evil"]]


def test_quotes_make_one_word() -> None:
    assert words("""run 'a b;$x' "c d" e'f'"g" ''""") == [["run", "a b;$x", "c d", "efg", ""]]


def test_a_line_may_go_on_behind_a_backslash() -> None:
    assert words("gunicorn \\\n  --bind 0.0.0.0:80 \\\n  app") == [["gunicorn", "--bind", "0.0.0.0:80", "app"]]


def test_a_word_with_a_variable_is_not_literal() -> None:
    assert words('run $X ${X} "a$X" "$@"') == [["run", None, None, None, None]]
    (command,) = commands("""x /a:$PATH:"${B}"'$C'""")
    assert command[1].expand({"PATH": "/p", "B": "b c"}.__getitem__) == "/a:/p:b c$C"


def test_a_value_that_the_shell_would_split_is_not_understood() -> None:
    (command,) = commands("x $PATH")
    for value in ("a b", "a*", "[a]", ""):
        with pytest.raises(NotUnderstoodError):
            command[1].expand(lambda _, text=value: text)  # type: ignore[misc]


@pytest.mark.parametrize(
    "text",
    [
        "a; b",
        "a | b",
        "a || b",
        "a & b",
        "a &",
        "(a)",
        "a $(b)",
        "a `b`",
        'a "$(b)"',
        'a "`b`"',
        "a > /b",
        "a < /b",
        "a <<E\nE",
        "a *",
        "a ?",
        "a [b]",
        "a {b,c}",
        "a ~/b",
        "a $1",
        "a $@",
        "a $*",
        'a x"$@"',
        'a "$@"x',
        "a ${X:-b}",
        "a ${X/b/c}",
        'a "${!X}"',
        "a $((1))",
        "a $'b'",
        'a "b\\"',
        "a \\; b",
        "py\\\nthon x",
        "a 'b",
        'a "b',
        "a 'b\nc'",
        "a#b",
        "a 'b'#c",
        "! a",
        "if a",
        "for x in y",
        "function f",
        "f() { a",
        "a \\",
        "a\r\nb",
        "a\0b",
        "a\u00a0b",
        "a\x0bb",
    ],
)
def test_anything_else_is_not_understood(text: str) -> None:
    with pytest.raises(NotUnderstoodError):
        commands(text)
