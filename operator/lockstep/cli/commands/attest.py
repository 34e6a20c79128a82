"""`lockstep environment attest`: states what is in an image, signed, beside it."""

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lockstep.api.reasons import Reason
from lockstep.cli import options
from lockstep.cli.access.access import access
from lockstep.cli.documents import resolve_image
from lockstep.cli.exit import CommandError, Exit
from lockstep.cli.output import write
from lockstep.environment.statement import environment_statement
from lockstep.formats.dsse import IN_TOTO, seal
from lockstep.formats.keys import InvalidKeyError, PrivateKey, private_key
from lockstep.images.open import is_local
from lockstep.images.reference import parse_reference
from lockstep.images.registry.push import RegistryPush
from lockstep.images.signing.attach import attach

DESCRIPTION = """Scans an image and signs what is in it: an in-toto statement whose subject is the image's digest and whose
predicate (`https://lockstep.dev/attestations/environment/v1`) is the environment document, in a DSSE envelope. It is
stored where `cosign attest` stores it (the tag `sha256-….att`): what others attested stays, what the same key attested of
the environment before is replaced. `--output FILE` writes the envelope to a file (`-`: standard output) and stores
nothing.

The key is a private key in PEM form (PKCS #8: ECDSA P-256 or P-384, Ed25519, RSA). `LOCKSTEP_KEY_PASSWORD`, else
`COSIGN_PASSWORD`, opens an encrypted one. cosign's own key files (`ENCRYPTED SIGSTORE PRIVATE KEY`) are not read: make
the pair with openssl, and give the same key to cosign.

```bash
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out release.pem
openssl pkey -in release.pem -pubout -out release.pub                # goes into the policy
cosign import-key-pair --key release.pem --output-key-prefix release # for cosign sign
lockstep environment attest registry.example.com/team/iris:2026-11 --key release.pem
cosign verify-attestation --key release.pub --insecure-ignore-tlog \\
  --type https://lockstep.dev/attestations/environment/v1 registry.example.com/team/iris@sha256:…
```"""


def arguments(command: ArgumentParser) -> None:
    """Take an image and a key."""
    command.add_argument("reference", help="registry/repository[:tag][@digest]; with --output also oci:DIR[:TAG] and the like")
    command.add_argument("--key", required=True, metavar="FILE", help="private key, PEM; LOCKSTEP_KEY_PASSWORD opens it")
    command.add_argument(
        "-o", "--output", metavar="FILE", help="write the DSSE envelope to a file (- for standard output) instead"
    )
    options.image(command)


async def run(arguments: Namespace) -> Exit:
    """Scan an image and store the signed statement of its environment beside it, or write it to a file."""
    key = _private(arguments.key)
    if arguments.output is None and is_local(arguments.reference):
        raise CommandError(Reason.REFERENCE_INVALID, "an image on disk has no place for attestations: give --output FILE")
    async with access(arguments.insecure_registry) as reach:
        source, image = await resolve_image(reach, arguments.reference, arguments.platform)
        document = (await reach.scanner.scan(source, image)).document
        envelope = seal(IN_TOTO, environment_statement(image.repository, image.digest, document), key)
        if arguments.output is not None:
            write(arguments.output, envelope.decode() + ("\n" if arguments.output == "-" else ""))
            return Exit.OK
        push = RegistryPush(
            reach.session, parse_reference(arguments.reference), reach.logins.credentials, reach.options, reach.limits
        )
        stored = await attach(source, push, image.digest, envelope, key.public)
    print(f"attested {image.pinned} with key {key.public.fingerprint}: {image.repository}@{stored}")
    return Exit.OK


def _private(path: str) -> PrivateKey:
    password = os.environ.get("LOCKSTEP_KEY_PASSWORD") or os.environ.get("COSIGN_PASSWORD")
    try:
        return private_key(Path(path).read_bytes(), password.encode() if password else None)
    except (OSError, InvalidKeyError) as error:
        raise CommandError(Reason.KEY_INVALID, f"{path}: {error}") from error
