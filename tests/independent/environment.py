"""Environments (FORMAT-tokens.md, "Float models"): read, to refuse them with a reason."""

import json
from typing import NoReturn

from .errors import Rejected

STRINGS = ("torch", "transformers", "device", "hardware", "capability", "dtype")
NUMBERS = {"threads": (1, 1024), "context": (0, 2**20), "path": (1, 1)}
CHOICES = {"device": ("cpu", "cuda"), "dtype": ("float32", "bfloat16", "float16")}


def read_environment(data: bytes) -> dict[str, str | int]:
    """Name to value; raises Rejected for what is no environment ("Environment")."""
    try:
        values = json.loads(data.decode("utf-8"))
    except ValueError as error:
        raise Rejected(f"environment: {error}") from error
    if isinstance(values, list) and len(values) == 8:
        values = [*values, 1]
    if not isinstance(values, list) or len(values) != 9:
        raise Rejected("environment: no list of nine values")
    found = dict(zip((*STRINGS, *NUMBERS), values, strict=True))
    for name in STRINGS:
        value = found[name]
        if not isinstance(value, str) or len(value) > 256:
            raise Rejected(f"environment: {name} is no string, or too long")
        if not all(" " <= letter <= "~" for letter in value):
            raise Rejected(f"environment: {name} is not printable ASCII")
        if name in CHOICES and value not in CHOICES[name]:
            raise Rejected(f"environment: {name} is {value}")
    for name, (least, most) in NUMBERS.items():
        value = found[name]
        if type(value) is not int or not least <= value <= most:
            raise Rejected(f"environment: {name} out of its bounds")
    return found


def refuse(data: bytes) -> NoReturn:
    """This reader has no libraries for float models, so it differs from every environment."""
    found = read_environment(data)
    raise Rejected(
        f"a float model, of torch {found['torch']!r} and transformers {found['transformers']!r} "
        f"on {found['hardware']!r}: this reader has neither library"
    )
