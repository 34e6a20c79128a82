"""Settings in a file of Python, such as gunicorn.conf.py: those that are set to plain strings, without executing anything."""

import ast
from collections.abc import Collection


class SettingsError(ValueError):
    """A setting has a value that only executing the file would show; the message says which."""


def settings(body: bytes, names: Collection[str]) -> dict[str, str]:
    """Return the values of some settings.

    What else the file does is not read: it is somebody's own code, as the application is.

    Raises:
        SettingsError: the file is no Python, or one of them is set in another way than once, at the top, to a plain string.
    """
    try:
        tree = ast.parse(body)
    # Deeply nested input ends in one of the last two.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SettingsError("it can't be read as Python") from error
    values: dict[str, str] = {}
    plain: set[int] = set()
    for statement in tree.body:
        for target, value in _assignments(statement):
            if target.id in names and isinstance(value, ast.Constant) and isinstance(value.value, str | None):
                if target.id in values:
                    raise SettingsError(f"{target.id} is set twice")
                values[target.id] = value.value or ""
                plain.add(id(target))
    for node in ast.walk(tree):
        if (name := next((one for one in _bound_names(node) if one in names or one == "*"), None)) and id(node) not in plain:
            how = "a module's names are all imported" if name == "*" else f"{name} is set to what only running it shows"
            raise SettingsError(how)
    return values


def _assignments(node: ast.stmt) -> list[tuple[ast.Name, ast.expr]]:
    if isinstance(node, ast.Assign):
        return [(target, node.value) for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
        return [(node.target, node.value)]
    return []


def _bound_names(node: ast.AST) -> list[str]:
    """Return the names that a node gives a value to."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
        return [node.id]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(one.asname or one.name).partition(".")[0] for one in node.names]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.MatchAs | ast.MatchStar | ast.ExceptHandler):
        return [node.name] if node.name else []
    return []
