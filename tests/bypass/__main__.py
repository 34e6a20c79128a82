"""python -m tests.bypass: make every attempt on the test node and print what came of it."""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.bypass import beside, objects, pushed, starved, trained, variables
from tests.bypass.attempt import Attempt, Outcome, Result
from tests.bypass.scene import Good, Scene, World
from tests.bypass.world import made
from tests.cluster.say import say

_TOGETHER: Sequence[tuple[Sequence[Attempt], str, bool]] = (
    (variables.attempts.all, "bypass-strict", True),
    (pushed.attempts.all, "bypass-strict", True),
    (objects.attempts.all, "bypass-standard", False),
    (trained.attempts.all, "bypass-standard", False),
)
"""Attempts, the policy that they are made under, and whether with the trained model (else with the small one)."""
_ALONE: Sequence[tuple[Sequence[Attempt], str, bool]] = (
    (beside.attempts.all, "bypass-standard", False),
    (starved.attempts.all, "bypass-standard", False),
)
"""Those that would disturb the others, or be disturbed by them."""


def main() -> int:
    """Make the attempts and return the exit status: 1 when there is a hole."""
    parser = argparse.ArgumentParser(prog="python -m tests.bypass", description=__doc__)
    parser.add_argument("--only", default="", help="names of attempts, with commas: A1,B6")
    parser.add_argument("--list", action="store_true", help="list the attempts and make none")
    parser.add_argument("--jobs", type=int, default=3, help="how many are made at the same time (default: 3)")
    asked = parser.parse_args()
    wanted = {name for name in asked.only.split(",") if name}
    if asked.list:
        for attempts, _, _ in (*_TOGETHER, *_ALONE):
            for attempt in attempts:
                print(f"{attempt.name:<5} {attempt.who:<15} {attempt.what}")
        return 0
    world = made()
    results: list[tuple[Attempt, Result]] = []
    for groups, jobs in ((_TOGETHER, asked.jobs), (_ALONE, 1)):
        chosen = [(a, policy, iris) for attempts, policy, iris in groups for a in attempts if not wanted or a.name in wanted]
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            results += pool.map(lambda one: _made(world, *one), chosen)
    return _shown(results)


def _made(world: World, attempt: Attempt, policy: str, iris: bool) -> tuple[Attempt, Result]:
    good: Good = world.iris if iris else world.tiny
    started = time.monotonic()
    try:
        with Scene(world, good, policy) as scene:
            result = attempt.run(scene)
    except Exception as error:
        # One that could not be made must not keep the others from being made; it counts as a hole until it can be.
        result = Result(Outcome.BYPASSED, f"could not be tried: {type(error).__name__}: {error}")
    say(f"{attempt.name}: {result.outcome} ({time.monotonic() - started:.0f} s): {result.seen[:300]}")
    return attempt, result


def _shown(results: Sequence[tuple[Attempt, Result]]) -> int:
    print(f"\n{'':<5} {'who':<20} {'outcome':<14} what, and what was seen")
    for attempt, result in results:
        print(f"{attempt.name:<5} {attempt.who:<20} {result.outcome:<14} {attempt.what}\n{'':<41} {result.seen[:200]}")
    holes = [attempt.name for attempt, result in results if result.outcome.is_a_hole]
    counted = {outcome: sum(result.outcome is outcome for _, result in results) for outcome in Outcome}
    print("\n" + ", ".join(f"{count} {outcome}" for outcome, count in counted.items() if count))
    if holes:
        print(f"holes: {', '.join(holes)}")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())
