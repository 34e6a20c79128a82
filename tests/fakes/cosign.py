"""The real cosign as a program: a local key, no transparency log, no network but the loopback device."""

import asyncio
import os
from pathlib import Path

from tests.cluster.binaries import COSIGN

BINARY = COSIGN.path
WHY_ABSENT = f"cosign {COSIGN.version} has not been built: python3 -m tests.cluster cosign"
_PASSWORD = "s3cret"
_NOWHERE = "http://127.0.0.1:9"
_LOG = "--tlog-upload=false"


class Cosign:
    """Signs, attests and verifies with keys that lie in a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def take(self, name: str, pem: bytes) -> str:
        """Bring a private key into cosign's own form and return the public one."""
        (self._folder / f"{name}.pem").write_bytes(pem)
        await self._run("import-key-pair", "--key", f"{name}.pem", "--output-key-prefix", name)
        return (self._folder / f"{name}.pub").read_text()

    async def sign(self, name: str, reference: str, *, bundle: bool) -> None:
        await self._run("sign", "--yes", _LOG, f"--new-bundle-format={bundle}".lower(), "--key", f"{name}.key", reference)

    async def attest(self, name: str, reference: str, kind: str, predicate: bytes, *, bundle: bool) -> None:
        (self._folder / "predicate.json").write_bytes(predicate)
        form = f"--new-bundle-format={bundle}".lower()
        words = ["--type", kind, "--predicate", "predicate.json", "--key", f"{name}.key", reference]
        await self._run("attest", "--yes", _LOG, form, *words)

    async def verifies(self, name: str, reference: str, *, bundle: bool) -> bool:
        """Return whether cosign itself takes the signature."""
        # For bundles it wants to know whom to trust besides the key: nobody.
        await self._run("trusted-root", "create", "--out", "nobody.json")
        form = ["--new-bundle-format=true", "--trusted-root=nobody.json"] if bundle else ["--new-bundle-format=false"]
        return await self._status("verify", "--insecure-ignore-tlog", *form, "--key", f"{name}.pub", reference) == 0

    async def verifies_attestation(self, name: str, reference: str, kind: str) -> bool:
        words = ["--insecure-ignore-tlog", "--type", kind, "--key", f"{name}.pub", reference]
        return await self._status("verify-attestation", *words) == 0

    async def _run(self, *words: str) -> None:
        assert await self._status(*words) == 0, self.said

    async def _status(self, *words: str) -> int:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "COSIGN_PASSWORD": _PASSWORD,
            "HTTPS_PROXY": _NOWHERE,
            "HTTP_PROXY": _NOWHERE,
            "NO_PROXY": "127.0.0.1",
        }
        process = await asyncio.create_subprocess_exec(
            str(BINARY),
            *words,
            cwd=self._folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        self.said = output.decode(errors="replace")
        assert process.returncode is not None
        return process.returncode
