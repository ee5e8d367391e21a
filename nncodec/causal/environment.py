"""What float archives depend on besides the model, as the archive says it.

A float computed elsewhere, with other threads or another library differs in its last bits, and one
such bit ruins all that is decoded after it. So the frame names everything that is known to matter,
and decoding compares before it starts. The other half of the geometry, lanes and prefix, is each
block's own.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from nncodec.errors import CorruptDataError, EnvironmentMismatchError

PATH = 1  # the way through predictor and coding; another order of operations is another path
DTYPES = ("float32", "bfloat16", "float16")
MOST_CONTEXT, MOST_THREADS, MOST_TEXT = 1 << 20, 1 << 10, 256


@dataclass(frozen=True)
class Environment:
    """``context`` is the number of tokens that the model sees at most, 0 for all of them."""

    torch: str
    transformers: str
    device: str  # "cpu" or "cuda"
    hardware: str  # the device's name
    capability: str  # of a CPU: its vector instructions in use
    dtype: str
    threads: int
    context: int
    path: int = PATH

    def pack(self) -> bytes:
        """A JSON list of the values, in the order of the fields."""
        return json.dumps(list(asdict(self).values()), separators=(",", ":")).encode()

    @classmethod
    def parse(cls, packed: bytes) -> Environment:
        """Raises CorruptDataError if these are no such bytes."""
        try:
            found = cls(*json.loads(packed.decode("utf-8")))
        except (ValueError, TypeError, RecursionError) as error:
            why = f"{error}".partition("__init__() ")[2] or error
            raise CorruptDataError(f"frame header: no numeric environment ({why})") from error
        for field in fields(cls):
            value = getattr(found, field.name)
            text = isinstance(value, str) and not (
                value.isascii() and value.isprintable() and len(value) <= MOST_TEXT
            )
            if type(value).__name__ != field.type or text or (isinstance(value, int) and value < 0):
                raise CorruptDataError(
                    f"frame header: numeric environment with {field.name} {value!r}"
                )
        if not 1 <= found.threads <= MOST_THREADS or found.context > MOST_CONTEXT:
            raise CorruptDataError(
                f"frame header: numeric environment with {found.threads} threads and a context of "
                f"{found.context}"
            )
        if found.dtype not in DTYPES:
            raise CorruptDataError(f"frame header: numeric environment with dtype {found.dtype!r}")
        return found

    def check(self, here: Environment) -> None:
        """Raises EnvironmentMismatchError that names every difference; ``self`` is an archive's."""
        differ = [
            f"{field.name} {getattr(self, field.name)!s} there, {getattr(here, field.name)!s} here"
            for field in fields(self)
            if getattr(self, field.name) != getattr(here, field.name)
        ]
        if differ:
            raise EnvironmentMismatchError(
                "made by float arithmetic in another environment, where alone it decodes: "
                + "; ".join(differ)
                + " (--any-environment tries all the same; checksums tell whether it worked)"
            )
