"""`lockstep environment lock`: the requirements from which the right serving image is built."""

from argparse import ArgumentParser, Namespace

from lockstep.cli import options
from lockstep.cli.access.access import access
from lockstep.cli.documents import read_recorded
from lockstep.cli.exit import Exit
from lockstep.cli.output import write
from lockstep.environment.lock import lock

DESCRIPTION = """Writes the requirements file from which the right serving image is built. A run with several recorded
models wants the model's id. With `-o FILE` the file is written as a whole or not at all; after `> FILE` of a shell it is
empty when the command fails.

The file has what was recorded of training, and no server. Install the server beside it with the file as constraints, so
that no pin is moved: `pip install -r requirements.txt -c requirements.txt mlserver`. Where the server demands other
versions, train with the server's constraints ([training.md](training.md#train-with-the-servers-constraints)).

```bash
lockstep environment lock models:/iris/3 -o requirements.txt
```"""


def arguments(command: ArgumentParser) -> None:
    """Take a recorded environment."""
    command.add_argument("source", help="models:/NAME/VERSION, models:/NAME@ALIAS, m-… or a run id")
    command.add_argument("-o", "--output", metavar="FILE", help="write to a file (default: standard output)")
    options.tracking(command)


async def run(arguments: Namespace) -> Exit:
    """Write the pinned requirements of a recorded environment."""
    async with access([]) as reach:
        document = await read_recorded(reach, arguments.source, arguments.tracking_uri)
    write(arguments.output, lock(document, source=arguments.source))
    return Exit.OK
