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
    parser.add_argument("--seconds", type=float, default=60, help="for each target (default: 60)")
    arguments = parser.parse_args()
    return _all(arguments.seconds) if arguments.all else _one(arguments.target, arguments.seconds)


def _all(seconds: float) -> int:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = dict(zip(TARGETS, pool.map(lambda name: _apart(name, seconds), TARGETS), strict=True))
    failed = [name for name, good in done.items() if not good]
    print(f"faults in: {', '.join(failed)}" if failed else f"{len(done)} targets, no fault")
    return 1 if failed else 0


def _apart(name: str, seconds: float) -> bool:
    """Run one target in a process of its own, which libFuzzer ends."""
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", f"{seconds:g}"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    print(f"{'failed' if done.returncode else 'ok':7} {name:14} {runs[1] if runs else '?':>9} inputs", flush=True)
    if done.returncode:
        print((done.stdout + done.stderr)[-6000:], flush=True)
    return done.returncode == 0


def _one(name: str, seconds: float) -> int:
    found = _WORK / name
    found.mkdir(parents=True, exist_ok=True)
    flags = {
        # libFuzzer counts whole seconds, and 0 is for ever.
        "max_total_time": max(1, round(seconds)),
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
