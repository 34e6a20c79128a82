"""`lockstep environment base`: a base image as policies list it."""

from argparse import ArgumentParser, Namespace

import yaml

from lockstep.cli import options
from lockstep.cli.access.access import access
from lockstep.cli.documents import resolve_image
from lockstep.cli.exit import Exit

DESCRIPTION = """Prints the layers of a base image as an entry of a policy's `images.baseImages`.

```console
$ lockstep environment base registry.example.com/python:3.11 --name python-3.11
- name: python-3.11
  diffIDs:
  - sha256:0d5f…
```"""


def arguments(command: ArgumentParser) -> None:
    """Take an image and its name."""
    command.add_argument("reference", help="the base image: registry/repository[:tag][@digest], oci:DIR or oci-archive:FILE")
    command.add_argument("--name", help="what people call it (default: the reference)")
    options.image(command)


async def run(arguments: Namespace) -> Exit:
    """Print an image's layers as a policy lists base images."""
    async with access(arguments.insecure_registry) as reach:
        _, image = await resolve_image(reach, arguments.reference, arguments.platform)
    listed = {"name": arguments.name or arguments.reference, "diffIDs": list(image.config.diff_ids)}
    print(yaml.safe_dump([listed], sort_keys=False), end="")
    return Exit.OK
