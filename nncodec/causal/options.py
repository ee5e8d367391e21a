"""How somebody else's language model is run; nothing of it is needed to decompress."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CausalOptions:
    """None: as suits the model, the machine and the level.

    ``lanes`` bounds how many step together, ``context`` how many tokens back the model sees.
    ``verify`` decodes everything that was coded, which takes as long again. ``any_environment`` is
    for decompressing: it tries although the archive was made in another.
    """

    dtype: str | None = None
    device: str | None = None
    lanes: int | None = None
    context: int | None = None
    verify: bool = True
    any_environment: bool = False


DEFAULT = CausalOptions()
