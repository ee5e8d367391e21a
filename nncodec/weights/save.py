"""Archives of what another library writes to a file, without holding both in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from nncodec.api import load_codec
from nncodec.files import atomic_file
from nncodec.levels import DEFAULT_LEVEL


def compress_file(
    write: Callable[[str], None],
    target: str | os.PathLike[str],
    level: int = DEFAULT_LEVEL,
    threads: int | None = None,
) -> None:
    """Compress what ``write`` puts into the file that it is given into ``target``.

    The file is a temporary one beside ``target``, for which there must be room.
    """
    target = Path(target)
    codec = load_codec(level, None, threads)  # before any work, if there is no such level
    with tempfile.TemporaryDirectory(prefix=".nncodec-", dir=target.parent) as folder:
        whole = os.path.join(folder, "whole")
        write(whole)
        with open(whole, "rb") as source, atomic_file(target) as sink:
            codec.compress_stream(source, sink)
