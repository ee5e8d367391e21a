"""The report of a benchmark: a page for browsers, and beside it two figures.

``page.py`` puts the rows into the page, whose scripts do all sums anew (``data.js``), as they
change with what the reader chooses; a test compares them with ``nncodec.bench.summary``. The CSV
beside a page is the caller's, who has it anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nncodec.bench.results import Row
from nncodec.figures import pyplot
from nncodec.files import atomic_file

__all__ = ["check_extras", "write_report"]


def check_extras() -> None:
    """Before hours of measuring. Raises MissingPackageError if matplotlib is absent."""
    pyplot()


def write_report(html: Path, rows: Sequence[Row], command: str) -> list[Path]:
    """Write the page and STEM-pareto and STEM-files (.svg, .png) beside it; returns their paths.

    ``command`` is what a reader would type to measure the same. Each file is there as a whole or
    as it was before. Raises NNCodecError if one cannot be written, MissingPackageError.
    """
    from nncodec.bench import plot
    from nncodec.bench.report.page import render

    page = render(rows, command)
    figures = plot.draw(rows, html.with_suffix(""))
    with atomic_file(html) as file:
        file.write(page)
    return [html, *figures]
