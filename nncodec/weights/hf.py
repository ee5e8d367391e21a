"""Transformers' models straight from a packed folder: weights are never on disk unpacked.

Tensors are decoded one after the other, blocks side by side, each into memory of its own; then
transformers itself loads them, so that names, ties and dtypes are what ``from_pretrained`` makes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nncodec.errors import FolderError, InvalidModelError
from nncodec.extras import need
from nncodec.weights import reader
from nncodec.weights.folder import SUFFIX

SINGLE = ("model.safetensors", "pytorch_model.bin")  # in the order in which transformers looks
SHOWN_NAMES = 4


def from_packed(
    folder: str | os.PathLike[str],
    *,
    strict: bool = True,
    threads: int | None = None,
    **kwargs: Any,
) -> Any:
    """The model that ``from_pretrained`` gives of the folder that was packed, bit for bit.

    ``kwargs`` are those of ``from_pretrained`` (``dtype``, ``device_map``, ...; ``config`` to give
    one). The class is the one that config.json names in ``architectures``, or the causal language
    model of its ``model_type``. With ``strict`` weights that lack a tensor of the model, have one
    too many or another shape raise InvalidModelError; without, transformers warns.

    Raises FolderError, MissingPackageError, and what ``nncodec.weights.open`` does.
    """
    need("torch", "train")
    transformers = need("transformers", "train")
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise FolderError(
            f"{path} has no config.json: give a folder that nncodec weights pack made"
        )
    archives = find_archives(path)
    config = kwargs.pop("config", None)
    if config is None:
        config = transformers.AutoConfig.from_pretrained(path)
    model_class = find_class(transformers, config, path)
    state = read_state(archives, threads)
    options = {"ignore_mismatched_sizes": True} if strict else {}
    wanted_report = kwargs.pop("output_loading_info", False)
    model, report = model_class.from_pretrained(
        None, config=config, state_dict=state, output_loading_info=True, **options, **kwargs
    )
    if strict:
        check_report(path, report)
    model.config._name_or_path = model.name_or_path = str(path)
    if model.can_generate() and (path / "generation_config.json").is_file():
        model.generation_config = transformers.GenerationConfig.from_pretrained(path)
    return (model, report) if wanted_report else model


def find_archives(folder: Path) -> list[Path]:
    """The archive of all weights, or those that an index of shards names; raises FolderError."""
    for name in SINGLE:
        if (folder / (name + SUFFIX)).is_file():
            return [folder / (name + SUFFIX)]
        index = folder / f"{name}.index.json"
        if index.is_file():
            return shards_of(index)
    plain = next((name for name in SINGLE if (folder / name).is_file()), None)
    if plain:
        raise FolderError(f"{folder} holds {plain} itself: load it by from_pretrained, or pack it")
    raise FolderError(
        f"{folder} holds none of {', '.join(name + SUFFIX for name in SINGLE)} and no index of "
        "shards: give a folder that nncodec weights pack made"
    )


def shards_of(index: Path) -> list[Path]:
    """Raises FolderError for an index that names no shards, or one that is not beside it."""
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FolderError(f"{index} is no index of shards: get another copy") from None
    if not names:
        raise FolderError(f"{index} names no shards: get another copy")
    for name in names:
        if not isinstance(name, str) or name != os.path.basename(name) or name in ("", ".", ".."):
            raise FolderError(f"{index} names the shard {name!r}, which is no file's name")
        if not (index.parent / (name + SUFFIX)).is_file():
            raise FolderError(
                f"{index} names {name}, but {name + SUFFIX} is missing: pack it again"
            )
    return [index.parent / (name + SUFFIX) for name in names]


def find_class(transformers: Any, config: Any, folder: Path) -> Any:
    """The architecture's class, or that of a causal model; raises FolderError if there is none."""
    for name in getattr(config, "architectures", None) or []:
        found = getattr(transformers, name, None)
        if found is not None:
            return found
    mapping = transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    if type(config) in mapping:
        return mapping[type(config)]
    raise FolderError(
        f"{folder}: this transformers has no class for {config.architectures or config.model_type}"
        ": unpack the folder and load it by its own code"
    )


def read_state(archives: Iterable[Path], threads: int | None) -> dict[str, Any]:
    """All tensors by name. Raises FolderError for a name that two archives have."""
    state: dict[str, Any] = {}
    for path in archives:
        with reader.open(path, "pt", threads=threads) as file:
            twice = next((name for name in file if name in state), None)
            if twice is not None:
                raise FolderError(f"{path} holds {twice!r} as another shard does: pack it again")
            state.update(file.get_tensors())
    return state


def check_report(folder: Path, report: dict[str, Any]) -> None:
    """Raises InvalidModelError if a tensor is missing, unexpected or of another shape."""
    faults = {
        "lack": report.get("missing_keys"),
        "hold what the model has no place for:": report.get("unexpected_keys"),
        "have another shape for": [key[0] for key in report.get("mismatched_keys") or ()],
        "were not loaded:": report.get("error_msgs"),
    }
    told = [f"{fault} {shown_names(names)}" for fault, names in faults.items() if names]
    if told:
        raise InvalidModelError(
            f"{folder}: the weights {'; they '.join(told)} (strict=False loads them all the same)"
        )


def shown_names(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - SHOWN_NAMES} more" if len(ordered) > SHOWN_NAMES else ""
    return ", ".join(ordered[:SHOWN_NAMES]) + more
