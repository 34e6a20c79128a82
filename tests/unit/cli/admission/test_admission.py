"""What the API server refuses is refused without one; tests/api asks a real one about the same manifests."""

from typing import Any

import pytest

from lockstep.cli.admission import rules, schema
from lockstep.cli.admission.admission import problems_of
from lockstep.cli.admission.quantity import is_quantity
from lockstep.cli.admission.text import documents
from lockstep.crds.resources import RESOURCES
from lockstep.crds.schema import root_schema
from tests.fakes.manifests import CASES, Case, deployment, limits, policy


def said(text: str) -> list[str]:
    (raw,) = documents(text)
    return [str(problem) for problem in problems_of(raw)]


@pytest.mark.parametrize("case", [one for one in CASES if not one.duplicate], ids=lambda case: case.name)
def test_a_manifest_is_judged_as_by_the_api_server(case: Case) -> None:
    problems = said(case.text)
    assert (not problems) == case.taken, problems
    assert case.taken or any(case.names in problem for problem in problems)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (deployment(replica=2), "unknown field spec.replica; did you mean spec.replicas?"),
        (policy(lineage={"requires": []}), "unknown field spec.lineage.requires; did you mean spec.lineage.require?"),
        (
            policy(environment={"packages": {"levels": "Content"}}),
            "unknown field spec.environment.packages.levels; did you mean spec.environment.packages.level?",
        ),
        (policy(packages={}), "unknown field spec.packages; did you mean spec.environment.packages?"),
        (deployment(Replicas=2), "unknown field spec.Replicas; did you mean spec.replicas?"),
        (deployment(server={"mlflow": {"a": 1}}), "unknown field spec.server.mlflow.a; spec.server.mlflow has no fields"),
        (deployment(service={"zzz": 1}), "unknown field spec.service.zzz; spec.service has the fields port"),
    ],
)
def test_an_unknown_field_is_named_with_the_one_that_was_meant(text: str, sentence: str) -> None:
    assert sentence in said(text)


def test_a_type_that_is_wrong_says_what_it_is_and_what_helps() -> None:
    (problem,) = said(deployment(model={"name": "iris", "version": 3}))
    assert problem == 'spec.model.version: it has to be of type string, and is 3; in quotes it is text: "3"'
    assert said(deployment(**limits(cpu=0.5)))[0].startswith("spec.template.resources.limits.cpu: ")


def test_every_problem_of_a_manifest_is_said_at_once() -> None:
    problems = said(deployment(replica=2, image=None, paused="no", retry=-1))
    assert {problem.partition(":")[0].partition(";")[0] for problem in problems} == {
        "unknown field spec.replica",
        "spec.image",
        "spec.paused",
        "spec.retry",
    }


def test_a_rule_that_ends_in_an_error_does_not_hold() -> None:
    broken = {"type": "object", "x-kubernetes-validations": [{"rule": "self.a.b == 1", "message": "no"}]}
    assert [str(one) for one in rules.problems({}, broken, "spec")] == ["spec: no"]


@pytest.mark.parametrize(
    ("rule", "value", "holds"),
    [
        ("self.env.map(v, size(v.name) + (has(v.value) ? size(v.value) : 0)).sum() <= 3", {"env": [{"name": "ab"}]}, True),
        ("self.env.map(v, size(v.name) + (has(v.value) ? size(v.value) : 0)).sum() <= 1", {"env": [{"name": "ab"}]}, False),
        ("self.sum() == 0 && self == []", [], True),
        ("self.max() - self.min() == 4", [1, 5, 3], True),
        ("self.min() == 0", [], False),
        ("self.?a.orValue('x') == 'x' && !has(self.a)", {}, True),
        ("self.split('/').size() == 2 && self.lowerAscii() == self", "a/b", True),
        ("self.all(a, self.exists_one(b, a.n == b.n))", [{"n": 1}, {"n": 1}], False),
    ],
)
def test_rules_may_use_what_the_api_servers_may(rule: str, value: Any, holds: bool) -> None:
    kind = {"dict": "object", "list": "array", "str": "string"}[type(value).__name__]
    written = {"type": kind, "items": {"type": "object"}, "x-kubernetes-validations": [{"rule": rule, "message": "no"}]}
    assert (not list(rules.problems(value, written, ""))) is holds


def _nodes(node: Any) -> Any:
    if isinstance(node, dict):
        if "type" in node or "x-kubernetes-int-or-string" in node:
            yield node
        for name in ("properties",):
            for inner in node.get(name, {}).values():
                yield from _nodes(inner)
        for name in ("items", "additionalProperties"):
            yield from _nodes(node.get(name))


NODES = [node for resource in RESOURCES for node in _nodes(root_schema(resource))]


def test_every_word_of_the_schemas_is_understood() -> None:
    assert {word for node in NODES for word in node} <= schema.KEYWORDS
    assert {node["format"] for node in NODES if "format" in node} <= schema.FORMATS


def test_every_rule_of_the_schemas_can_be_evaluated() -> None:
    written = {rule["rule"] for node in NODES for rule in node.get("x-kubernetes-validations", ())}
    assert len(written) > 12
    for rule in written:
        if "oldSelf" not in rule:
            rules.compile_rule(rule)


def test_patterns_are_read_as_the_api_server_reads_them() -> None:
    assert rules.matches("^[0-9]+$", "3")
    assert not rules.matches("^[0-9]+$", "3\n"), "a line's end is not the text's end"
    assert not rules.matches(r"^\s$", "\u00a0"), "blanks are those of ASCII"
    assert rules.matches("b", "abc"), "a pattern is searched for"


GOOD_QUANTITIES = ["0", "2", "500m", "4Gi", "1e3", "1E", "1E3", "1.5Gi", ".5", "1.", "+1", "-1k", "1e-3", "12Pi", "1n", "1u"]
BAD_QUANTITIES = ["", "lots", "1 Gi", " 1", "1Gim", "Gi", "1KB", "0x1", "1e", "1_000", ".", "+", "1..5", "1Ki\n", "\u0661"]


@pytest.mark.parametrize(("text", "right"), [(t, True) for t in GOOD_QUANTITIES] + [(t, False) for t in BAD_QUANTITIES])
def test_quantities_are_those_of_kubernetes(text: str, right: bool) -> None:
    assert is_quantity(text) is right
