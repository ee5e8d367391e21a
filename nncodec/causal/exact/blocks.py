"""Bytes to blocks of tokens and back by an exact model: what a codec calls a coder.

The payload is that of every block of tokens (``causal/payload.py``). Unlike float models these
need no environment and no check: what the encoder's integers were, the decoder's are. Decoding
takes the tokens' bytes from the model's tensors, so it works without a tokenizer installed.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nncodec._core import PayloadError
from nncodec.blocks import Bytes, Geometry
from nncodec.causal.exact.coding import Done, Engine, ExactCoder, Ids
from nncodec.causal.exact.weights import ExactModel
from nncodec.causal.payload import Payload
from nncodec.causal.tokenize import Tokens, load_tokenizer, tokenize, untokenize
from nncodec.causal.vocabulary import TokenTable
from nncodec.errors import CorruptDataError, InvalidModelError
from nncodec.lanes import Progress

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class ExactTokens:
    """A model, an engine that runs it, and the folder with its tokenizer, if it is to encode."""

    of_tokens = True

    def __init__(self, model: ExactModel, engine: Engine, folder: Path | None = None) -> None:
        self.model, self.coder, self.folder = model, ExactCoder(model, engine), folder
        self.table = token_table(model)
        self.widths = np.array([len(token or b"") for token in self.table.bytes_of], np.int64)

    @property
    def state_bytes(self) -> int:
        """Keys and values that decoding keeps of each lane, its context full."""
        return self.model.config.cache_bytes

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Raises InvalidModelError if there is none, MissingPackageError."""
        if self.folder is None:
            raise InvalidModelError(f"model {self.model.model_id.hex()} has no tokenizer here")
        return load_tokenizer(self.folder)

    def tokenize(self, data: bytes) -> Tokens:
        return tokenize(self.table, self.tokenizer, data)

    def encode(self, data: Bytes, geometry: Geometry, progress: Progress) -> bytes:
        """A payload of (n,) ``data``; ``geometry`` counts tokens."""
        return self.encode_tokens(self.tokenize(data.tobytes()), geometry, progress)

    def encode_tokens(self, tokens: Tokens, geometry: Geometry, progress: Progress) -> bytes:
        coded = self.coder.encode(tokens.ids, geometry, self.counter(progress))
        return Payload(len(tokens.ids), tokens.side, coded).pack()

    def decode(self, payload: bytes, size: int, geometry: Geometry, progress: Progress) -> bytes:
        """Inverse of ``encode``. Raises PayloadError, CorruptDataError."""
        parsed = Payload.parse(payload, size)
        left, count = size, self.counter(progress)

        def done(came: Ids) -> None:
            nonlocal left
            left -= int(self.widths[came].sum())
            if left < 0:  # damage is random text, which need not be decoded to its end
                raise PayloadError("more bytes than the block has")
            count(came)

        ids = self.coder.decode(parsed.coded, parsed.count, geometry, done)
        data = untokenize(self.table, Tokens(ids, parsed.side))
        if len(data) != size:
            raise CorruptDataError("a block is damaged: its tokens have another length than it")
        progress(left)
        return data

    def counter(self, progress: Progress) -> Done:
        """Tokens as the bytes that they stand for."""
        return lambda came: progress(int(self.widths[came].sum()))


def token_table(model: ExactModel) -> TokenTable:
    """What each id stands for, from the model's own tensors."""
    table: list[bytes | None] = [None] * model.config.vocab_size
    for number, text in zip(model.tensors["tokens.ids"].tolist(), model.symbol_bytes, strict=True):
        table[number] = text
    return TokenTable(table, model.config.begin)
