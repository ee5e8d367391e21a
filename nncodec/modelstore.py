"""Finding models: by name or path for compress, by hash for decompress. Offline, verified.

Search order: the folder ``models`` that ships with the package, then ``$NNCODEC_HOME`` (default
``~/.nncodec/models``). A model is a folder with ``config.json`` and ``engine.safetensors``; its
id is recomputed from their contents, never believed from a file name or manifest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nncodec.causal.exact.config import is_exact
from nncodec.causal.exact.weights import ExactModel
from nncodec.config import FLOAT_FILE
from nncodec.engine_weights import WEIGHTS_FILE, EngineModel
from nncodec.errors import InvalidModelError, ModelNotFoundError

DEFAULT_MODEL = "small"

AnyModel = EngineModel | ExactModel


@dataclass(frozen=True)
class Installed:
    """A model folder on this machine."""

    name: str
    folder: Path


def search_path() -> list[Path]:
    """Folders that hold model folders, in order of preference."""
    home = os.environ.get("NNCODEC_HOME")
    own = Path(home or os.path.expanduser("~/.nncodec/models"))  # "~" stays where it has no meaning
    package = Path(__file__).resolve().parent
    # Installed wheels carry the models inside the package; a source tree has them beside it.
    return [package / "models", package.parent / "models", own]


def installed() -> Iterator[Installed]:
    """Every model folder on the search path; of two with one name the first is meant by it."""
    seen = set()
    for root in search_path():
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if (folder / WEIGHTS_FILE).is_file() and folder.resolve() not in seen:
                seen.add(folder.resolve())
                yield Installed(folder.name, folder)


def load(folder: Path) -> AnyModel:
    """Load a folder of either kind: a model over bytes, or one of exact mode over tokens.

    Raises InvalidModelError if it cannot be used.
    """
    return ExactModel.load(folder) if is_exact(folder) else EngineModel.load(folder)


def find(name: str) -> EngineModel:
    """Load a model by name or by the path of its folder.

    Raises ModelNotFoundError if there is none, InvalidModelError if it cannot be used.
    """
    return EngineModel.load(locate(name))


def locate(name: str) -> Path:
    """The folder meant by a model's name or by a path. Raises ModelNotFoundError."""
    for model in installed():
        if model.name == name:
            return model.folder
    folder = Path(name)
    if (folder / WEIGHTS_FILE).is_file():
        return Path(os.path.abspath(folder))  # so that it has a name, also if it was given as "."
    names = ", ".join(sorted({m.name for m in installed()})) or "none"
    raise ModelNotFoundError(
        f"no model named {name!r}: installed are {names}; give one of these or a model's folder"
    )


def locate_float(name: str) -> Path:
    """The folder of float weights meant by a model's name or by a path, for training to go on from.

    Raises ModelNotFoundError if there is no such model, InvalidModelError if it has none.
    """
    folder = Path(name)
    if any(model.name == name for model in installed()) or not (folder / FLOAT_FILE).is_file():
        folder = locate(name)
    if not (folder / FLOAT_FILE).is_file():
        raise InvalidModelError(
            f"{name} has no float weights ({FLOAT_FILE}) to go on from: a source tree has "
            "them, and nncodec models pull REPO --float --name NAME gets them"
        )
    return folder


def find_largest() -> EngineModel:
    """Load the installed model over bytes with the most weights. Raises ModelNotFoundError."""
    models = [model for model in installed() if not is_exact(model.folder)]
    if not models:
        return find(DEFAULT_MODEL)
    # Of equals the first: an adapted model has its base's size, and is not what -9 means.
    largest = max(models, key=lambda m: (m.folder / WEIGHTS_FILE).stat().st_size)
    return EngineModel.load(largest.folder)


def find_by_id(model_id: bytes) -> AnyModel:
    """Load the model that an archive names. Raises ModelNotFoundError with its hash."""
    for model in installed():
        try:
            loaded = load(model.folder)
        except InvalidModelError:
            continue  # a broken folder must not hide the right one; find() reports it by name
        if loaded.model_id == model_id:
            return loaded
    places = ", ".join(str(p) for p in search_path())
    raise ModelNotFoundError(
        f"made with model {model_id.hex()}, which is not installed; "
        f"get it with nncodec models pull REPO --id {model_id.hex()}, "
        f"give its folder with -m, or put it into one of {places}"
    )
