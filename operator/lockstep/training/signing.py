"""The key with which a training job signs the environment that it records."""

import os
from pathlib import Path

from lockstep.formats.keys import PrivateKey, private_key

PASSWORD_VARIABLE = "LOCKSTEP_KEY_PASSWORD"


def signing_key(key: str | os.PathLike[str]) -> PrivateKey:
    """Read a private key from a PEM text or from the file that a path names.

    Raises:
        InvalidKeyError: it is no key that can be used, or the password is wrong.
        OSError: the file can't be read.
    """
    password = os.environ.get(PASSWORD_VARIABLE)
    # What has several lines is never taken for a path: an error would show it.
    pem = key.encode() if isinstance(key, str) and "\n" in key.strip() else Path(key).read_bytes()
    return private_key(pem, password.encode() if password else None)
