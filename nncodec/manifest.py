"""MANIFEST.json: what a folder of models is said to hold. A claim, to be compared with contents."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from nncodec.config import CONFIG_FILE, FLOAT_FILE
from nncodec.engine_weights import WEIGHTS_FILE, EngineModel
from nncodec.errors import InvalidModelError
from nncodec.files import sha256
from nncodec.numerics import NUMERIC_VERSION

MANIFEST_FILE = "MANIFEST.json"
HASHED_FILES = (CONFIG_FILE, WEIGHTS_FILE, FLOAT_FILE)

Row = dict[str, Any]


def describe(folder: Path) -> Row:
    """The row of a manifest for a model folder. Raises InvalidModelError if it cannot be used."""
    model = EngineModel.load(folder)
    return {
        "name": folder.name,
        "id": model.model_id.hex(),
        "numeric_version": NUMERIC_VERSION,
        "parameters": model.parameters,
        "bytes": (folder / WEIGHTS_FILE).stat().st_size,
        "licence": "Apache-2.0",
        "sha256": {f: sha256(folder / f) for f in HASHED_FILES if (folder / f).is_file()},
    }


def claimed(folder: Path) -> Row | None:
    """The row that the manifest beside ``folder`` has for it, if there are both.

    Raises InvalidModelError, naming the manifest, if it is no list of rows with ids and hashes.
    """
    folder = Path(os.path.abspath(folder))
    path = folder.parent / MANIFEST_FILE
    if not path.is_file():
        return None
    try:
        rows = json.loads(path.read_text("utf-8"))
        return next(({**row, **_checked(row)} for row in rows if row["name"] == folder.name), None)
    except (
        OSError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError
    ) as error:  # fmt: skip
        why = f"{type(error).__name__}: {error}"
        raise InvalidModelError(f"{path}: is no manifest of models ({why})") from error


def _checked(row: Row) -> Row:
    """The parts that are compared, with their types. Raises ValueError, TypeError or KeyError."""
    return {
        "id": bytes.fromhex(row["id"]).hex(),
        "numeric_version": int(row["numeric_version"]),
        "sha256": {file: bytes.fromhex(value).hex() for file, value in row["sha256"].items()},
    }
