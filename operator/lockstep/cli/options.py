"""Arguments that several commands have."""

import argparse
import os

DOCUMENTS = "a document's file, - for standard input, models:/NAME/VERSION, models:/NAME@ALIAS, m-…, runs:/ID, a run id"
"""Where a recorded environment is found."""


def image(command: argparse.ArgumentParser) -> None:
    """Add what reading an image takes."""
    command.add_argument("--platform", default="linux/amd64", help="platform of the image (default: %(default)s)")
    command.add_argument(
        "--insecure-registry",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="registry that is spoken to over plain HTTP; may be given several times",
    )


def tracking(command: argparse.ArgumentParser) -> None:
    """Add the address of MLflow."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    command.add_argument("--tracking-uri", default=uri, help="MLflow tracking server (default: MLFLOW_TRACKING_URI)")


def table_or_json(command: argparse.ArgumentParser) -> None:
    """Add the choice between text for people and JSON for programs."""
    command.add_argument("-o", "--output", choices=("table", "json"), default="table", help="table (default) or json")
