"""Splits the text databases of dpkg and apk into their entries."""

import io
from collections.abc import Iterator

from lockstep.environment.catalogue.system.database import unverifiable_error

MAX_LINES = 4_000_000
"""Lines of one database; a distribution in full has fewer."""


def stanzas(body: bytes, path: str) -> Iterator[list[str]]:
    """Yield the lines of each entry. Entries are parted by empty lines; lines end with a line feed and nothing else.

    Raises:
        CatalogueError: the database has too many lines.
    """
    stanza: list[str] = []
    for number, raw in enumerate(io.BytesIO(body)):
        if number == MAX_LINES:
            raise unverifiable_error(path, f"it has more than {MAX_LINES} lines")
        line = raw.decode("utf-8", "replace").removesuffix("\n")
        if line.strip(" \t"):
            stanza.append(line)
        elif stanza:
            yield stanza
            stanza = []
    if stanza:
        yield stanza
