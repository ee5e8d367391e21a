"""A float model of transformers from a folder, whole or not at all.

transformers gives a tensor that a checkpoint lacks random numbers, with a warning: the model would
be another one in every process, and nothing that it coded could be decoded. So what is missing, of
another shape, NaN or infinite is an error that names it. No code of the folder runs, no pickle is
read, nothing is downloaded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nncodec.causal.folder import CausalFolder
from nncodec.config import said
from nncodec.errors import InvalidModelError
from nncodec.extras import need

MOST_PER_BYTE = 4  # numbers; formats of 2 bits a number have as many


def load_float(path: Path, dtype: Any) -> Any:
    """The torch model on the CPU, for inference. Raises InvalidModelError, MissingPackageError."""
    transformers = need("transformers")
    tensors, held = held_in(path)
    try:
        with quiet(transformers):
            check_size(path, tensors, held, transformers)
            model, info = transformers.AutoModelForCausalLM.from_pretrained(
                path,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # they are named below
                output_loading_info=True,
            )
    except InvalidModelError:
        raise
    except Exception as error:  # configs that lie break it in as many ways as it has models
        raise InvalidModelError(f"{path}: transformers cannot load it: {said(error)}") from error
    if wrong := sorted(str(key[0]) for key in info["mismatched_keys"]):
        raise InvalidModelError(
            f"{path}: {wrong[0]} has another shape than config.json says{others(wrong)}"
        )
    if missing := sorted(info["missing_keys"]):
        raise InvalidModelError(f"{path}: its weights lack {missing[0]}{others(missing)}")
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise InvalidModelError(
                f"{path}: {name} holds NaN or infinity; the checkpoint is unusable"
            )
    return model.eval()


def held_in(path: Path) -> tuple[int, int]:
    """Tensors in a folder's files of weights, by their headers, and the bytes of them."""
    with CausalFolder(path).tensors() as tensors:
        return len(tensors), sum(len(data) for *_, data in tensors)


def check_size(path: Path, tensors: int, held: int, transformers: Any) -> None:
    """Raise InvalidModelError for a config of a far larger model than there are weights of.

    Memory for all of it would be taken before anyone noticed. What transformers makes of a config
    is seen on torch's meta device, where tensors have no bytes.
    """
    torch = need("torch")
    config = transformers.AutoConfig.from_pretrained(
        path, local_files_only=True, trust_remote_code=False
    )
    layers = getattr(config.get_text_config(), "num_hidden_layers", 0)
    if isinstance(layers, int) and layers > tensors:
        raise InvalidModelError(
            f"{path}: config.json says {layers} layers, its weights are {tensors} tensors"
        )
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    made = sum(p.numel() for p in model.parameters())
    if made > MOST_PER_BYTE * held:
        raise InvalidModelError(
            f"{path}: config.json makes a model of {made} numbers, its weights are {held} bytes"
        )


def others(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


@contextlib.contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """No bars and no advice on standard error, where errors alone belong."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
