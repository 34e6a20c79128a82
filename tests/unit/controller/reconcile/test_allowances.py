"""How many pods may be removed, and when one more may be."""

from lockstep.controller.reconcile.allowances import Allowances
from tests.fakes.clock import FakeClock


def test_a_burst_is_allowed_and_then_one_in_ten_seconds() -> None:
    clock = FakeClock()
    allowances = Allowances(clock)
    assert allowances.of("a").pods == 10
    allowances.spend("a", 10)
    assert (allowances.of("a").pods, allowances.of("a").refill) == (0, 10)
    clock.advance(4)
    assert (allowances.of("a").pods, allowances.of("a").refill) == (0, 6)
    clock.advance(6)
    assert allowances.of("a").pods == 1
    clock.advance(3600)
    assert allowances.of("a").pods == 10


def test_each_model_deployment_has_its_own() -> None:
    allowances = Allowances(FakeClock())
    allowances.spend("a", 10)
    allowances.spend("b", 0)
    assert allowances.of("a").pods == 0
    assert allowances.of("b").pods == 10
