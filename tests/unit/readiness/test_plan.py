"""What an audit asks is decided by chance, within what it has to ask."""

import json
import random
from typing import Any

import pytest

from lockstep.api.server import Server
from lockstep.readiness.audit import protocol_of
from lockstep.readiness.plan import LONGEST_PAUSE, Ask, Plan
from lockstep.readiness.port import Audit
from lockstep.readiness.protocols.exchange import Request

EXAMPLE = b'{"inputs": [[1], [2], [3]]}'


def planned(seed: int = 1, *, requests: int = 3, example: bytes | None = EXAMPLE, **changes: Any) -> Plan:
    server = Server.model_validate(changes.pop("server", {"mlflow": {}}))
    audit = Audit(
        pod="iris-1",
        address="127.0.0.1",
        port=8080,
        hosts=("iris",),
        server=server,
        input_example=example,
        requests=requests,
        timeout_seconds=5,
        within_seconds=60,
        **changes,
    )
    return Plan(audit, protocol_of(server), random.Random(seed), compact=True, pauses=True)


def sent(seed: int = 1, **changes: Any) -> list[Request]:
    plan = planned(seed, **changes)
    return [plan.request(step.ask) for step in plan.steps if step.ask is not Ask.READY]


def bodies(seed: int = 1, **changes: Any) -> list[bytes]:
    return [request.body for request in sent(seed, **changes)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("requests", [1, 3, 30])
def test_at_least_as_many_are_asked_as_are_wanted_and_every_row_once(seed: int, requests: int) -> None:
    found = bodies(seed, requests=requests)
    assert requests <= len(found) <= requests + max(2, requests // 5)
    assert EXAMPLE in found
    assert {row[0] for body in found for row in json.loads(body)["inputs"]} == {1, 2, 3}


def test_number_order_and_pauses_differ_from_audit_to_audit() -> None:
    orders = [[step.ask for step in planned(seed).steps] for seed in range(30)]
    assert len({len(order) for order in orders}) == 3
    assert len({order.index(Ask.READY) for order in orders}) > 2, "readiness is asked at any time"
    assert len({order.index(Ask.WHOLE) for order in orders}) > 2, "so is the whole example"
    assert len({tuple(bodies(seed)) for seed in range(30)}) > 20
    assert len({planned(seed).steps[1].pause for seed in range(30)}) == 30


def test_pauses_are_short_however_many_requests_there_are() -> None:
    assert all(0 <= step.pause <= LONGEST_PAUSE for step in planned(requests=3).steps)
    assert sum(step.pause for step in planned(requests=1000).steps) < 10


def test_a_model_that_takes_its_example_as_a_whole_gets_nothing_else_and_may_answer_any_number() -> None:
    found = sent(whole_example=True, requests=5)
    assert {(request.body, request.rows) for request in found} == {(EXAMPLE, None)}


def test_a_model_that_may_leave_predictions_out_gets_all_rows_each_time() -> None:
    assert {request.rows for request in sent(missing_predictions=True, requests=30)} == {3}


def test_a_model_without_an_example_is_asked_for_readiness_alone() -> None:
    assert [step.ask for step in planned(requests=0, example=None).steps] == [Ask.READY]


def test_through_the_service_readiness_is_not_asked() -> None:
    assert Ask.READY not in [step.ask for step in planned(ready=False).steps]


def test_a_body_of_the_manifests_own_is_sent_as_it_stands() -> None:
    server = {"custom": {"readyPath": "/", "predictPath": "/score", "predictBody": '{"x": 1}'}}
    found = sent(server=server)
    assert {(request.body, request.name) for request in found} == {(b'{"x": 1}', "server.custom.predictBody")}


@pytest.mark.parametrize("server", [{"mlflow": {}}, {"openInferenceV2": {"modelName": "m"}}, {"custom": {"readyPath": "/"}}])
def test_predictions_that_nobody_knows_how_to_ask_for_are_an_error_and_not_none(server: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"predictPath|no registered input example"):
        sent(server=server, example=None)
