"""Where models of others are: a folder, one in ``$NNCODEC_HOME``, or the hub's cache by USER/REPO.

The network is asked only for a USER/REPO that was named and is nowhere here; ``HF_HUB_OFFLINE``
forbids that, too. Without a name, decoding finds a model by its id among those that are here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from nncodec import hub, modelstore
from nncodec.causal.exact.config import MODEL_TYPE as EXACT_TYPE
from nncodec.causal.folder import KIND_BYTES, CausalFolder, is_causal
from nncodec.causal.vocabulary import read_json
from nncodec.config import CONFIG_FILE, MODEL_TYPE
from nncodec.engine_weights import WEIGHTS_FILE
from nncodec.errors import HubError, InvalidModelError, NNCodecError

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FILES = ("*.json", "*.safetensors")  # none of which holds code


def find_folder(name: str, download: bool = False) -> CausalFolder | None:
    """The model of somebody else's that a name means; None if it means another, or nothing.

    Raises HubError if it must be fetched and cannot be.
    """
    for path in (Path(name), modelstore.search_path()[-1] / name):
        if is_meant(path):
            return CausalFolder(path.resolve())
        if path.is_dir():
            return None
    if not REPOSITORY.fullmatch(name) or Path(name).parent.is_dir():  # a path, perhaps mistyped
        return None
    cached = cached_snapshot(name)
    if cached is None and download:
        cached = hub.download(name, None, FILES)
        if not is_causal(cached):
            raise HubError(f"{name} is no causal language model with a tokenizer.json")
    return CausalFolder(cached.resolve()) if cached else None


def is_meant(path: Path) -> bool:
    """Whether a folder that was named is one: of a broken one its errors will be told.

    Raises InvalidModelError for a config that cannot be read.
    """
    if not (path / CONFIG_FILE).is_file() or (path / WEIGHTS_FILE).is_file():
        return False
    return read_json(path / CONFIG_FILE).get("model_type") not in (MODEL_TYPE, EXACT_TYPE)


def cached_snapshot(repository: str) -> Path | None:
    """Its files as the hub's cache has them, whole or not at all."""
    try:
        library = hub.import_hub()
    except NNCodecError:
        return None
    try:
        path = Path(
            library.snapshot_download(repository, local_files_only=True, allow_patterns=list(FILES))
        )
    except (OSError, ValueError):
        return None
    return path if is_causal(path) and any(path.glob("*.safetensors")) else None


def find_by_id(model_id: bytes) -> CausalFolder | None:
    """The model here that has the id. Those of another kind are told apart without reading them."""
    for path in candidates():
        folder = CausalFolder(path)
        try:
            if folder.kind[:KIND_BYTES] == model_id[:KIND_BYTES] and folder.model_id == model_id:
                return folder
        except InvalidModelError:
            continue  # a broken folder must not hide the right one
    return None


def candidates() -> Iterator[Path]:
    home = modelstore.search_path()[-1]
    folders = sorted(home.iterdir()) if home.is_dir() else []
    try:
        hub.import_hub()
        from huggingface_hub import constants

        folders += sorted(Path(constants.HF_HUB_CACHE).glob("models--*/snapshots/*"))
    except NNCodecError:
        pass  # without the library there is no cache
    yield from filter(is_causal, folders)
