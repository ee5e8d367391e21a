"""The rows of a benchmark as one HTML file.

Cells are texts, many of them the same: the page has each text once, and rows of their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nncodec import pages
from nncodec.bench.results import COLUMNS, Row
from nncodec.pages import visible

SCRIPTS = ("data.js", "tables.js", "labels.js", "pareto.js", "files.js", "main.js")


def render(rows: Sequence[Row], command: str) -> bytes:
    """The page, in UTF-8. Nothing in ``rows`` or ``command`` can become part of it."""
    about = {"command": visible(command), **packed(rows)}
    return pages.fill(__package__, SCRIPTS, {"ABOUT": pages.script_json(about)})


def packed(rows: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    texts: dict[str, int] = {}
    numbers = [
        [texts.setdefault(visible(row[name]), len(texts)) for name in COLUMNS] for row in rows
    ]
    return {"columns": COLUMNS, "texts": list(texts), "rows": numbers}
