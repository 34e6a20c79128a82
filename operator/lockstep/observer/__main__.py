"""`python -m lockstep.observer`: prints the report, and leaves its notice as the container's termination message."""

import argparse
import ctypes
import os
import sys
from collections.abc import Sequence

from lockstep.observer.look import look
from lockstep.observer.proc import Proc
from lockstep.observer.report import MAX_REPORT, Report, notice_of

_PR_SET_DUMPABLE = 4
"""linux/prctl.h"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Look once and end; return the exit status: 0 when there is a report."""
    parser = argparse.ArgumentParser(prog="lockstep.observer", description="Report which processes serve, and what they run.")
    parser.add_argument("--port", type=int, required=True, help="the port at which the server answers")
    parser.add_argument("--variables", default="", help="variables whose values are reported: names or patterns, by commas")
    parser.add_argument("--proc", default="/proc", help="where procfs is mounted")
    parser.add_argument("--message", default="/dev/termination-log", help="file for the notice of the report")
    asked = parser.parse_args(arguments)
    _hide()
    variables = frozenset(asked.variables.split(",")) - {""}
    line = look(Proc(asked.proc), asked.port, variables, os.getpid()).dump()
    if len(line) > MAX_REPORT:
        line = Report(undetermined=f"the report has more than {MAX_REPORT} bytes").dump()
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
    with open(asked.message, "w", encoding="ascii") as file:
        file.write(notice_of(line))
    return 0


def _hide() -> None:
    """Keep processes of the same user, the server's, from reading and writing this one's memory and files (PR_SET_DUMPABLE).

    The image does so from the first instruction, for any user but root: nobody may read its interpreter (execve(2)).
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
