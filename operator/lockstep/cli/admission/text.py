"""Reads YAML and JSON as kubectl does: YAML 1.1 in the dialect of sigs.k8s.io/yaml, which is not PyYAML's.

`yes` and `y` are booleans, `1e1` is a number, `12:30` and `2026-11-25` are text, and every key is text.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode
from yaml.reader import ReaderError

_INT = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_PLAIN, _MERGE = "tag:lockstep.dev,2026:plain", "tag:yaml.org,2002:merge"


def documents(text: str) -> list[Any]:
    """Return the documents of a text as JSON values; empty ones are left out.

    Raises:
        ValueError: it is no YAML, or holds what JSON can't.
    """
    try:
        return [one for one in yaml.load_all(text, _Loader) if one is not None]
    except (yaml.YAMLError, ReaderError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars as sigs.k8s.io/yaml (goyaml.v2/resolve.go) does."""

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> Any:
        """Return the tag of a node that has none: what PyYAML would take for numbers and times is decided by `_plain`."""
        if kind is ScalarNode and implicit[0]:
            return _MERGE if value == "<<" else _PLAIN
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        _refuse_twice(node)
        self.flatten_mapping(node)
        return {
            _key(self.construct_object(key, deep=True), node): self.construct_object(value, deep) for key, value in node.value
        }


def _refuse_twice(node: Node) -> None:
    seen: set[str] = set()
    for key, _ in node.value if isinstance(node, MappingNode) else ():
        if isinstance(key, ScalarNode) and key.tag != _MERGE:
            if key.value in seen:
                raise ConstructorError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)


def _key(key: Any, node: Node) -> str:
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, str | int | float):
        return str(key)
    raise ConstructorError(None, None, f"a key has to be text, not {key!r}", node.start_mark)


def _plain(loader: _Loader, node: ScalarNode) -> Any:
    text = str(loader.construct_scalar(node))
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    digits = text.replace("_", "") if text[0] in "0123456789+-" else text
    if _INT.fullmatch(digits):
        return _whole(digits)
    if _FLOAT.fullmatch(digits):
        return _number(float(digits), node)
    if text.lstrip("+-").lower() in (".inf", ".nan"):
        raise ConstructorError(None, None, f"{text} can't be sent to the API server: it is not JSON", node.start_mark)
    return text


def _whole(digits: str) -> int:
    sign, bare = (-1 if digits[0] == "-" else 1), digits.lstrip("+-").lower()
    octal = len(bare) > 1 and bare[0] == "0" and bare[1] in "o01234567"
    return sign * (int(bare.replace("o", ""), 8) if octal else int(bare, 0))


def _number(value: float, node: ScalarNode) -> int | float:
    if not math.isfinite(value):
        raise ConstructorError(None, None, "a number is too large", node.start_mark)
    # JSON has one kind of number, which Go writes without a fraction where there is none.
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


_Loader.add_constructor(_PLAIN, _plain)


def parts(document: Any) -> Iterator[Any]:
    """Yield a document, or the items of a `v1 List`, as `kubectl get -o yaml` writes several objects."""
    if isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
        yield from document["items"]
    else:
        yield document
