"""`lockstep environment attest | verify`: states what is in an image, signed, and tells who has stated what."""

import os
import sys
from argparse import Namespace
from pathlib import Path

from lockstep.api.reasons import Reason
from lockstep.cli.access import Access, access, docker_credentials, parse_platform
from lockstep.cli.status import CommandError, Exit
from lockstep.environment.agreement import disagreement
from lockstep.environment.document import EnvironmentDocument
from lockstep.environment.dsse import IN_TOTO, sealed
from lockstep.environment.statement import ENVIRONMENT, environment_statement
from lockstep.images.attach import attach
from lockstep.images.image import ResolvedImage
from lockstep.images.open import is_local
from lockstep.images.push import RegistryPush
from lockstep.images.reference import parse_reference
from lockstep.images.resolve import resolve
from lockstep.images.signed import Attestation, Signature, Signed
from lockstep.images.source import ImageSource
from lockstep.images.verification import read_signed
from lockstep.keys import InvalidKeyError, PrivateKey, PublicKey, private_key, public_keys


async def attest(arguments: Namespace) -> Exit:
    """Scan an image and store the signed statement of its environment beside it, or write it to a file."""
    key = _private(arguments.key)
    if arguments.output is None and is_local(arguments.reference):
        raise CommandError(Reason.REFERENCE_INVALID, "an image on disk has no place for attestations: give --output FILE")
    async with access(arguments.insecure_registry) as reach:
        source, image = await _resolved(reach, arguments)
        document = (await reach.scanner.scan(source, image)).document
        envelope = sealed(IN_TOTO, environment_statement(image.repository, image.digest, document), key)
        if arguments.output is not None:
            _written(arguments.output, envelope)
            return Exit.OK
        push = RegistryPush(
            reach.session, parse_reference(arguments.reference), docker_credentials(), reach.options, reach.limits
        )
        stored = await attach(source, push, image.digest, envelope, key.public)
    print(f"attested {image.pinned} with key {key.public.fingerprint}: {image.repository}@{stored}")
    return Exit.OK


async def verify(arguments: Namespace) -> Exit:
    """Print who signed and attested an image; equal when one of the keys did, and nothing that they attest is wrong."""
    keys = _public(arguments.key)
    async with access(arguments.insecure_registry) as reach:
        source, image = await _resolved(reach, arguments)
        found = await read_signed(source, image.digest, keys)
        wanted = any(one.document is not None for one in found.attestations)
        document = (await reach.scanner.scan(source, image)).document if wanted else None
    print(f"image        {image.pinned}")
    right = [_told_signature(one, found) for one in found.signatures]
    right += [_told_attestation(one, found, document) for one in found.attestations]
    if not right:
        print("nothing is signed or attested")
    return Exit.OK if True in right and False not in right else Exit.DIFFERENT


def _told_signature(one: Signature, found: Signed) -> bool | None:
    """Print one signature; True when it counts, None when it is a stranger's or about something else."""
    counts = bool(one.signers) and found.digest in one.subjects
    about = "of this image " if found.digest in one.subjects else "of another image " if one.signers else ""
    print(f"signature    {about}by {_who(one.signers)}")
    return counts or None


def _told_attestation(one: Attestation, found: Signed, scanned: EnvironmentDocument | None) -> bool | None:
    """Print one attestation; False when one of the keys states something else than the layers do."""
    if one.problem is not None:
        print(f"attestation  by {_who(one.signers)}: {one.problem}")
        return False if one.signers else None
    if one.document is None or scanned is None:
        about = "of this image " if found.digest in one.subjects else "of another image " if one.signers else ""
        print(f"attestation  {about}by {_who(one.signers)}: {one.predicate_type or 'not read'}")
        return None
    differs = disagreement(one.document, scanned)
    said = "agrees with the layers" if differs is None else f"differs from the layers in: {differs}"
    print(f"attestation  of this image by {_who(one.signers)}: {ENVIRONMENT}: {said}")
    return differs is None


def _who(signers: frozenset[str]) -> str:
    return ", ".join(sorted(signers)) or "none of the keys"


async def _resolved(reach: Access, arguments: Namespace) -> tuple[ImageSource, ResolvedImage]:
    source, wanted = await reach.open(arguments.reference)
    platform = parse_platform(arguments.platform)
    return source, await resolve(source, arguments.reference, wanted, platform, reach.limits)


def _private(path: str) -> PrivateKey:
    password = os.environ.get("LOCKSTEP_KEY_PASSWORD") or os.environ.get("COSIGN_PASSWORD")
    try:
        return private_key(Path(path).read_bytes(), password.encode() if password else None)
    except (OSError, InvalidKeyError) as error:
        raise CommandError(Reason.KEY_INVALID, f"{path}: {error}") from error


def _public(paths: list[str]) -> dict[str, PublicKey]:
    try:
        return public_keys(Path(path).read_text(encoding="utf-8") for path in paths)
    except (OSError, UnicodeDecodeError, InvalidKeyError) as error:
        raise CommandError(Reason.KEY_INVALID, str(error)) from error


def _written(path: str, envelope: bytes) -> None:
    if path == "-":
        sys.stdout.write(envelope.decode() + "\n")
    else:
        Path(path).write_bytes(envelope)
