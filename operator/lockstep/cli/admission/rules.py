"""The CEL rules of the schema (`x-kubernetes-validations`), evaluated as in the API server, by Google's CEL for Python."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from lockstep.cli.admission.problem import Problem, below
from lockstep.cli.admission.quantity import is_quantity
from lockstep.cli.admission.schema import Schema
from lockstep.cli.extras import needs

_RULES = "x-kubernetes-validations"
_OLD = "oldSelf"


@cache
def _environment() -> Any:
    """Return what rules may use: CEL's standard library, strings and optionals, and of Kubernetes' own what our rules use."""
    # It is large, and nothing but a manifest needs it.
    with needs("check"):
        import cel_expr_python.cel as cel
        import cel_expr_python.ext.ext_optional as ext_optional
        import cel_expr_python.ext.ext_strings as ext_strings
    text, boolean, anything = cel.Type.STRING, cel.Type.BOOL, cel.Type.DYN
    quantity = cel.Overload("is_quantity_string", boolean, [text], False, is_quantity)
    # Kubernetes' library for lists (k8s.io/apiserver/pkg/cel/library/lists.go), as far as it is about comparable values.
    of_lists: dict[str, Callable[..., Any]] = {"sum": sum, "min": min, "max": max}
    return cel.NewEnv(
        variables={"self": anything, "wanted": text},
        functions=[
            cel.FunctionDecl("isQuantity", [quantity]),
            *(
                cel.FunctionDecl(name, [cel.Overload(f"list_{name}", anything, [cel.Type.List(anything)], True, function)])
                for name, function in of_lists.items()
            ),
        ],
        extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()],
    )


@cache
def compile_rule(rule: str) -> Any:
    """Return a rule that can be evaluated.

    Raises:
        RuntimeError: it is no CEL, or uses a function that is not known here.
    """
    return _environment().compile(rule)


def matches(pattern: str, text: str) -> bool:
    """Return whether a pattern is found in a text, by RE2 as in the API server."""
    return compile_rule("self.matches(wanted)").eval(data={"self": text, "wanted": pattern}).plain_value() is True


def problems(value: Any, schema: Schema, path: str) -> Iterator[Problem]:
    """Yield the rules that a prepared value breaks, those of what is below it first."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for name, entry in value.items():
            inner = properties.get(name, schema.get("additionalProperties"))
            if inner is not None:
                yield from problems(entry, inner, below(path, name))
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from problems(entry, schema["items"], f"{path}[{number}]")
    for rule in schema.get(_RULES, ()):
        # A rule about a change has nothing to say of an object that is new.
        if _OLD not in rule["rule"] and not _holds(rule["rule"], value):
            yield Problem(path, rule["message"])


def _holds(rule: str, value: Any) -> bool:
    """Return whether a rule holds; one that ends in an error does not, as in the API server."""
    expression = compile_rule(rule)
    try:
        return expression.eval(data={"self": value}).plain_value() is True
    except RuntimeError:
        return False
