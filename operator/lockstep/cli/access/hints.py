"""What a person at a command line can do about some refusals, beside what the operator would say."""

from lockstep.api.reasons import Reason

_NO_TLS = "no TLS with it"


def with_hint(reason: Reason | str, message: str) -> str:
    """Return the message, with the option that would help where there is one."""
    if reason == Reason.IMAGE_REGISTRY_UNREACHABLE and _NO_TLS in message and "certificate" not in message.lower():
        return f"{message}; where it speaks plain HTTP, name it: --insecure-registry HOST:PORT"
    return message
