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

from nncodec.errors import InvalidModelError
from nncodec.extras import need


def load_float(path: Path, dtype: Any) -> Any:
    """The torch model on the CPU, for inference. Raises InvalidModelError, MissingPackageError."""
    transformers = need("transformers")
    try:
        with quiet(transformers):
            model, info = transformers.AutoModelForCausalLM.from_pretrained(
                path,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # they are named below
                output_loading_info=True,
            )
    except Exception as error:  # configs that lie break it in as many ways as it has models
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise InvalidModelError(f"{path}: transformers cannot load it: {why}") from error
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
