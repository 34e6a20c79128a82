"""`lockstep environment scan`: what is in an image."""

from argparse import ArgumentParser, Namespace

from lockstep.cli import options
from lockstep.cli.access.access import access
from lockstep.cli.documents import scan_document
from lockstep.cli.exit import Exit
from lockstep.cli.output import pretty

DESCRIPTION = """Reads an image's layers and prints its document. Nothing is pulled, unpacked or run.

```bash
lockstep environment scan registry.example.com/team/iris:2026-11
lockstep environment scan oci:build/image:1          # an OCI layout; the tag may be left out when it holds one image
lockstep environment scan oci-archive:image.tar      # an OCI archive, uncompressed
```"""


def arguments(command: ArgumentParser) -> None:
    """Take an image."""
    command.add_argument("reference", help="registry/repository[:tag][@digest], oci:DIR[:TAG] or oci-archive:FILE")
    options.image(command)


async def run(arguments: Namespace) -> Exit:
    """Print the document of an image's environment."""
    async with access(arguments.insecure_registry) as reach:
        print(pretty(await scan_document(reach, arguments.reference, arguments.platform)))
    return Exit.OK
