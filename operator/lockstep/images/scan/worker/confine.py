"""Locks the present process up before it reads a stranger's bytes."""

import codecs
import os
import resource

from lockstep.images.limits import Limits

# Python loads codecs from files when they are first used; zip files name their members in cp437.
for _codec in (
    "ascii",
    "latin-1",
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-32",
    "cp437",
    "idna",
    "unicode_escape",
    "raw_unicode_escape",
):
    codecs.lookup(_codec)


def confine(limits: Limits) -> None:
    """Give up whatever the reading of bytes does not need; there is no way back.

    Memory and processor time are bounded. No file, socket or process can be opened any more, so that neither the service
    account's token nor the network is within reach. What is needed has to be imported before.
    """
    os.environ.clear()
    seconds = int(limits.seconds) + 1
    for what, limit in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 3),
    ):
        resource.setrlimit(what, (limit, limit))
    # What serves and the operator's own loop go first.
    os.nice(5)
