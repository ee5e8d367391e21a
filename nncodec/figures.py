"""Figures by matplotlib: the same file from the same figures, and no partial ones.

No dates and a fixed salt for the names within an SVG. matplotlib is of the extra ``bench`` and is
imported when there is something to draw.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nncodec.errors import MissingPackageError
from nncodec.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METADATA: dict[str, dict[str, str | None]] = {"svg": {"Date": None}, "png": {"Software": None}}


def pyplot() -> Any:
    """Raises MissingPackageError without matplotlib."""
    try:
        import matplotlib as mpl
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"needs {error.name}: install it with pip install 'nncodec-lm[bench]'"
        ) from error
    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "nncodec"
    return plt


def save(figure: Figure, base: Path) -> list[Path]:
    """Write ``base``.svg and .png; returns their paths. Raises NNCodecError if it cannot."""
    paths = []
    for kind, metadata in METADATA.items():
        drawn = io.BytesIO()
        figure.savefig(drawn, format=kind, dpi=120, metadata=metadata)
        path = base.with_name(f"{base.name}.{kind}")
        with atomic_file(path) as file:
            file.write(drawn.getvalue())
        paths.append(path)
    return paths
