"""From a Hugging Face folder to a folder of exact mode, ready for ``-m``.

    config.json          the shape (``nncodec-exact``)
    engine.safetensors   int8 matrices, scales, the tokens' bytes: with the config all that decides
    tokenizer.json       how text is cut into tokens, which only whoever compresses needs
    README.md            where it comes from

Calibration wants text like that to come. Without any the model writes its own: its samples are
what it expects to read, and nothing that is measured later has been seen.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nncodec.causal.exact.weights import ExactModel
from nncodec.causal.folder import CausalFolder
from nncodec.causal.loading import load_float
from nncodec.causal.tokenize import load_tokenizer, tokenize
from nncodec.causal.vocabulary import TOKENIZER_FILE, TokenTable
from nncodec.errors import NNCodecError
from nncodec.extras import need
from nncodec.files import write_atomically

TEXTS, TEXT_TOKENS = 8, 256  # of calibration

CARD = """\
---
library_name: nncodec
tags: [compression, lossless]
---
# {name}

Made by `nncodec models convert` from the {family} model {source}, whose licence it keeps:
{layers} layers of width {width}, {symbols} tokens, a context of {context}. Its weights are
integers, and archives made with it decode on any machine.
"""

Notify = Callable[[str], object]


def convert_folder(
    source: Path,
    target: Path,
    text: bytes | None = None,
    context: int | None = None,
    notify: Notify = print,
) -> ExactModel:
    """Convert ``source``; ``text`` is what to calibrate on, if not on samples of the model.

    Raises InvalidModelError if it cannot be, MissingPackageError, NNCodecError for a folder in the
    way or a text of too few tokens.
    """
    if target.exists() and any(target.iterdir()):
        raise NNCodecError(f"{target} is not empty: give a new folder")
    torch = need("torch")
    from nncodec.causal.exact.convert import check_family, convert

    check_family(CausalFolder(source).config.get("model_type"))
    CausalFolder(source).files  # noqa: B018  (says what is missing)
    table = TokenTable.from_folder(source)
    model = load_float(source, torch.float32)
    if text is None:
        notify("sampling text from the model to calibrate on")
        calibration = sample(model, table)
    else:
        calibration = cut(source, table, text, model.config.max_position_embeddings - 1)
    notify(f"rounding with {calibration.size} tokens to calibrate on")
    made = convert(model, table.bytes_of, table.begin, calibration, context)
    made.save(target)
    shutil.copyfile(source / TOKENIZER_FILE, target / TOKENIZER_FILE)
    config = made.config
    card = CARD.format(
        name=target.resolve().name, source=source.resolve().name, family=model.config.model_type,
        layers=config.n_layers, width=config.d_model, symbols=config.n_symbols,
        context=config.context,
    )  # fmt: skip
    write_atomically(target / "README.md", card.encode())
    return made


def sample(model: Any, table: TokenTable, seed: int = 0) -> npt.NDArray[np.int64]:
    """(TEXTS, T) tokens as the model draws them, behind the begin token."""
    torch = need("torch")
    steps = min(TEXT_TOKENS, model.config.max_position_embeddings - 1)
    unusable = [i for i, token in enumerate(table.bytes_of) if token is None]
    begin = torch.full((TEXTS, 1), table.begin)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        tokens = model.generate(
            begin, attention_mask=torch.ones_like(begin), do_sample=True, temperature=1.0,
            top_k=0, top_p=1.0, max_new_tokens=steps, min_new_tokens=steps, eos_token_id=None,
            pad_token_id=0, suppress_tokens=unusable or None,
        )  # fmt: skip
    result: npt.NDArray[np.int64] = tokens.numpy()
    return result


def cut(source: Path, table: TokenTable, text: bytes, most: int) -> npt.NDArray[np.int64]:
    """(up to TEXTS, up to ``most``) tokens from all over ``text``, behind the begin token."""
    ids = tokenize(table, load_tokenizer(source), text).ids.astype(np.int64)
    size = min(TEXT_TOKENS, len(ids), most)
    if size < 16:
        raise NNCodecError(f"the text to calibrate on has {size} tokens: give a longer one")
    starts = np.linspace(0, len(ids) - size, min(TEXTS, len(ids) // size)).astype(int)
    texts = np.stack([ids[start : start + size] for start in starts])
    return np.concatenate((np.full((len(texts), 1), table.begin), texts), 1)
