"""What is wrong with data that does not fit its type, as a sentence."""

from pydantic import ValidationError


def first_fault(error: ValidationError, whole: str = "") -> str:
    """Return the first field that does not fit, and why: `spec.replicas: Input should be less than or equal to 1000`.

    Args:
        error: pydantic's.
        whole: what the data is called where no field of it is at fault.
    """
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or whole}: {first['msg']}"
