"""Is a model folder what it is said to be? Ids are computed from contents, records compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nncodec import manifest, modelstore
from nncodec.engine_weights import WEIGHTS_FILE, read_record
from nncodec.errors import InvalidModelError
from nncodec.files import sha256
from nncodec.numerics import NUMERIC_VERSION


@dataclass(frozen=True)
class Report:
    """What a check found. ``model`` is None if the weights cannot be used at all.

    ``agreeing``: files with the hash that the manifest beside the folder has for them;
    ``absent``: files of the manifest that are not here. Both are empty without such a manifest.
    """

    folder: Path
    model: modelstore.AnyModel | None
    problems: tuple[str, ...]
    in_manifest: bool
    agreeing: tuple[str, ...]
    absent: tuple[str, ...]

    def usable(self) -> modelstore.AnyModel:
        """The model. Raises InvalidModelError with everything that is wrong."""
        if self.model is None or self.problems:
            raise InvalidModelError("; ".join(self.problems))
        return self.model

    def summary(self) -> str:
        """What a model without problems was compared with: ``id 828e..., agrees with ...``."""
        parts = [f"id {self.usable().model_id.hex()}, as {WEIGHTS_FILE} records"]
        if self.in_manifest:
            files = ", ".join(self.agreeing) or "no file"
            parts.append(f"manifest agrees on the id and {files}")
        else:
            parts.append("not in a manifest")
        if self.absent:
            parts.append(f"not here: {', '.join(self.absent)}")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.folder.name,
            "folder": str(self.folder),
            "ok": not self.problems,
            "id": self.model.model_id.hex() if self.model else None,
            "problems": list(self.problems),
            "in_manifest": self.in_manifest,
            "agreeing": list(self.agreeing),
            "absent": list(self.absent),
        }


def check(folder: Path) -> Report:
    """Load the integer weights with all checks, compute the id, compare all records of it."""
    problems: list[str] = []
    model, row = None, None
    try:
        model = modelstore.load(folder)
        problems += record_problems(folder, model)
    except InvalidModelError as error:
        problems.append(str(error))
    try:
        row = manifest.claimed(folder)
    except InvalidModelError as error:
        problems.append(str(error))
    if row is None:
        return Report(folder, model, tuple(problems), False, (), ())
    if model:
        problems += claim_problems(manifest.MANIFEST_FILE, model, row["id"], row["numeric_version"])
    hashes = {file: row["sha256"][file] for file in manifest.HASHED_FILES if file in row["sha256"]}
    here = [file for file in hashes if (folder / file).is_file()]
    agreeing = [file for file in here if sha256(folder / file) == hashes[file]]
    problems += [
        f"{file} is not the file of {manifest.MANIFEST_FILE}: its SHA-256 differs"
        for file in here
        if file not in agreeing
    ]
    absent = tuple(file for file in hashes if file not in here)
    return Report(folder, model, tuple(problems), True, tuple(agreeing), absent)


def record_problems(folder: Path, model: modelstore.AnyModel) -> Iterator[str]:
    """Compare with what the weights' own file records."""
    record = read_record(folder)
    missing = [key for key in ("model_id", "numeric_version") if key not in record]
    if missing:
        yield f"{WEIGHTS_FILE} records no {' and no '.join(missing)}: export the model again"
        return
    yield from claim_problems(WEIGHTS_FILE, model, record["model_id"], record["numeric_version"])


def claim_problems(
    source: str, model: modelstore.AnyModel, id_: str, version: str | int
) -> Iterator[str]:
    """What is wrong with the id and numeric version that ``source`` claims for ``model``."""
    if str(version) != str(NUMERIC_VERSION):
        yield f"{source} says numeric version {version}, this release computes {NUMERIC_VERSION}"
    elif id_ != model.model_id.hex():
        yield f"the id of these weights is {model.model_id.hex()}, {source} says {id_}"
