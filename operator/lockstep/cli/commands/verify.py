"""`lockstep environment verify`: who has signed and attested an image."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from lockstep.api.reasons import Reason
from lockstep.cli import options
from lockstep.cli.access.access import access
from lockstep.cli.documents import resolve_image
from lockstep.cli.exit import CommandError, Exit
from lockstep.environment.comparison.agreement import disagreement
from lockstep.environment.document import EnvironmentDocument
from lockstep.environment.statement import ENVIRONMENT
from lockstep.formats.keys import InvalidKeyError, PublicKey, public_keys
from lockstep.images.signing.signed import Attestation, Signature, Signed
from lockstep.images.signing.verification import read_signed

DESCRIPTION = """Prints who signed and attested an image. Ends with 0 when one of the keys (`--key` may be given several
times) signed or attested this image and what they attest is what the layers hold, else with 1.

```bash
lockstep environment verify registry.example.com/team/iris:2026-11 --key release.pub
```"""


def arguments(command: ArgumentParser) -> None:
    """Take an image and keys."""
    command.add_argument("reference", help="registry/repository[:tag][@digest]")
    command.add_argument(
        "--key", required=True, action="append", metavar="FILE", help="public key, PEM; may be given several times"
    )
    options.image(command)


async def run(arguments: Namespace) -> Exit:
    """Print who signed and attested an image; equal when one of the keys did, and nothing that they attest is wrong."""
    keys = _public(arguments.key)
    async with access(arguments.insecure_registry) as reach:
        source, image = await resolve_image(reach, arguments.reference, arguments.platform)
        signed = await read_signed(source, image.digest, keys)
        wanted = any(one.document is not None for one in signed.attestations)
        document = (await reach.scanner.scan(source, image)).document if wanted else None
    print(f"image        {image.pinned}")
    right = [_print_signature(one, signed) for one in signed.signatures]
    right += [_print_attestation(one, signed, document) for one in signed.attestations]
    if not right:
        print("nothing is signed or attested")
    return Exit.OK if True in right and False not in right else Exit.DIFFERENT


def _print_signature(signature: Signature, signed: Signed) -> bool | None:
    """Print one signature; True when it counts, None when it is a stranger's or about something else."""
    counts = bool(signature.signers) and signed.digest in signature.subjects
    about = "of this image " if signed.digest in signature.subjects else "of another image " if signature.signers else ""
    print(f"signature    {about}by {_who(signature.signers)}")
    return counts or None


def _print_attestation(attestation: Attestation, signed: Signed, scanned: EnvironmentDocument | None) -> bool | None:
    """Print one attestation; False when one of the keys states something else than the layers do."""
    if attestation.problem is not None:
        print(f"attestation  by {_who(attestation.signers)}: {attestation.problem}")
        return False if attestation.signers else None
    if attestation.document is None or scanned is None:
        about = (
            "of this image " if signed.digest in attestation.subjects else "of another image " if attestation.signers else ""
        )
        print(f"attestation  {about}by {_who(attestation.signers)}: {attestation.predicate_type or 'not read'}")
        return None
    differs = disagreement(attestation.document, scanned)
    said = "agrees with the layers" if differs is None else f"differs from the layers in: {differs}"
    print(f"attestation  of this image by {_who(attestation.signers)}: {ENVIRONMENT}: {said}")
    return differs is None


def _who(signers: frozenset[str]) -> str:
    return ", ".join(sorted(signers)) or "none of the keys"


def _public(paths: list[str]) -> dict[str, PublicKey]:
    try:
        return public_keys(Path(path).read_text(encoding="utf-8") for path in paths)
    except (OSError, UnicodeDecodeError, InvalidKeyError) as error:
        raise CommandError(Reason.KEY_INVALID, str(error)) from error
