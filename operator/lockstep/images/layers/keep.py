"""What is kept of one file's content while it streams past."""

import hashlib

from lockstep.environment.binaries.program import Program, program_of
from lockstep.environment.binaries.sharedobject import SharedObject, Undetermined
from lockstep.environment.tree import HEAD
from lockstep.images.layers.interest import Interest
from lockstep.images.layers.needs import Needs


class Keep:
    """Takes a file's content piece by piece and keeps what is of interest."""

    __slots__ = ("_body", "_hash", "_head", "_interest", "_legacy", "_needs", "_size")

    def __init__(self, interest: Interest, size: int) -> None:
        self._interest = interest
        self._size = size
        # An empty body is one, too.
        self._body = bytearray() if size <= max(interest.body or -1, interest.program or -1) else None
        self._hash = hashlib.sha256() if interest.hashed else None
        # Package managers use them; what they prove is that a file is the one that its package states.
        legacy = (hashlib.md5(usedforsecurity=False), hashlib.sha1(usedforsecurity=False)) if interest.legacy else ()
        self._legacy = legacy
        self._head = b""
        self._needs = Needs(size) if interest.needs else None

    def take(self, chunk: bytes) -> None:
        """Take the next piece."""
        if self._body is not None:
            self._body += chunk
        if self._hash is not None:
            self._hash.update(chunk)
        for digest in self._legacy:
            digest.update(chunk)
        if self._interest.head and len(self._head) < HEAD:
            self._head += chunk[: HEAD - len(self._head)]
        if self._needs is not None:
            self._needs.take(chunk)

    @property
    def body(self) -> bytes | None:
        """The whole content, where it may be kept."""
        return bytes(self._body) if self._body is not None and self._size <= (self._interest.body or -1) else None

    @property
    def why_unread(self) -> str:
        """Why something that is of interest is not known; empty when all is."""
        limit = max(self._interest.body, self._interest.program)
        if not limit:
            return "its body is no evidence, so it was not kept"
        return f"it has {self._size} bytes, the limit for such a file is {limit}" if self._size > limit else ""

    @property
    def sha256(self) -> str | None:
        """Digest of the content, where it was asked for."""
        return f"sha256:{self._hash.hexdigest()}" if self._hash is not None else None

    @property
    def legacy(self) -> tuple[bytes, bytes] | None:
        """The md5 and sha1 digests of the content, where they were asked for."""
        return (self._legacy[0].digest(), self._legacy[1].digest()) if self._legacy else None

    @property
    def head(self) -> bytes | None:
        """The first bytes, where they were asked for."""
        return self._head if self._interest.head else None

    @property
    def program(self) -> Program | None:
        """What a binary says of itself, where it was asked for."""
        return program_of(bytes(self._body)) if self._interest.program and self._body is not None else None

    def shared_object(self) -> SharedObject | Undetermined:
        """Return what the file needs as a shared object, where that was asked for; to be asked once, at its end."""
        return self._needs.shared_object() if self._needs is not None else Undetermined.NOT_READ
