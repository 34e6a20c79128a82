"""Coverage-guided fuzzing: `python -m tests.fuzz TARGET [--seconds N]`, or `--all` for every target in turn.

A fault is an exception that the reader does not document, an input that takes longer than 10 seconds, or more than 1 GiB of
memory. The input is then written to `.fuzz/`: put it beside the seeds in `tests/fuzz/corpus/TARGET/`, where a unit test
runs it from then on.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lockstep"]):
    from tests.fuzz.seeds import CORPUS
    from tests.fuzz.targets import TARGETS

_WORK = Path(__file__).parents[2] / ".fuzz"
_SECONDS_AN_INPUT, _MEGABYTES, _LONGEST = 10, 1024, 64 * 1024


def main() -> int:
    """Fuzz what the command line names and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("target", nargs="?", choices=sorted(TARGETS))
    which.add_argument("--all", action="store_true", help="every target in turn")
    until = parser.add_mutually_exclusive_group()
    until.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    until.add_argument("--runs", type=int, help="inputs for each target, the same ones each time, for CI")
    arguments = parser.parse_args()
    how = f"--runs={arguments.runs}" if arguments.runs else f"--seconds={arguments.seconds}"
    return _all(how) if arguments.all else _one(arguments.target, arguments.seconds, arguments.runs)


def _all(how: str) -> int:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = dict(zip(TARGETS, pool.map(lambda name: _apart(name, how), TARGETS), strict=True))
    failed = [name for name, good in done.items() if not good]
    print(f"faults in: {', '.join(failed)}" if failed else f"{len(done)} targets, no fault")
    return 1 if failed else 0


def _apart(name: str, how: str) -> bool:
    """Run one target in a process of its own, which libFuzzer ends."""
    command = [sys.executable, "-m", "tests.fuzz", name, how]
    # Sets and dicts in one order, so that the same inputs are the same again.
    variables = os.environ | {"PYTHONHASHSEED": "0"}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=variables)
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    print(f"{'failed' if done.returncode else 'ok':7} {name:14} {runs[1] if runs else '?':>9} inputs", flush=True)
    if done.returncode:
        print((done.stdout + done.stderr)[-6000:], flush=True)
    return done.returncode == 0


def _one(name: str, seconds: int, runs: int | None) -> int:
    # What is found helps the next search, but not where the inputs are to be the same each time.
    found = _WORK / name if runs is None else Path(tempfile.mkdtemp(prefix="lockstep-fuzz-"))
    found.mkdir(parents=True, exist_ok=True)
    _WORK.mkdir(exist_ok=True)
    flags = {
        **({"max_total_time": max(1, seconds)} if runs is None else {"runs": runs, "seed": 1}),
        "timeout": _SECONDS_AN_INPUT,
        "rss_limit_mb": _MEGABYTES,
        "max_len": _LONGEST,
        "artifact_prefix": f"{_WORK}/{name}-",
        "print_final_stats": 1,
    }
    atheris.Setup(
        [sys.argv[0], *(f"-{key}={value}" for key, value in flags.items()), str(found), str(CORPUS / name)], _feed(name)
    )
    atheris.Fuzz()
    return 0


def _feed(name: str) -> Callable[[bytes], None]:
    target = TARGETS[name]

    def feed(data: bytes) -> None:
        target.takes(data)

    return feed


if __name__ == "__main__":
    sys.exit(main())
