"""The byte Transformer, all of it: what is trained here, in floats, runs in integers in the codec.

Decoder-only, pre-norm. RMSNorm without gain (a gain would fold into the next matrix), rotary
positions, sliding-window attention with shared key/value heads and query/key norm, ReLU-squared
MLP, no biases. Each choice serves the exact integer engine (``nncodec/engine/reference.py``):
norms become int8 codes whose scale follows from the codes, nothing needs exp outside attention
and the final distribution.

Shapes: B sequences, T positions, D = d_model, F = d_ff, H heads, G key/value heads, C = head_dim.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from nncodec.config import BEGIN_OF_BLOCK, FLOAT_FILE, ModelConfig
from nncodec.errors import InvalidModelError
from nncodec.files import write_atomically
from nncodec.lm.attention import windowed_attention
from nncodec.lm.rounding import Embedding, Linear, rounded, steps
from nncodec.numerics import ngram_row, rope_table


def rms_norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), eps=1e-6)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding (Su et al. 2021) over the two halves of each head."""
    a, b = x.chunk(2, dim=-1)  # (B, T, heads, C/2) each
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig, window: int) -> None:
        super().__init__()
        self.H, self.G, self.C = config.n_heads, config.n_kv_heads, config.head_dim
        self.window = window
        self.qkv = Linear(config.d_model, (self.H + 2 * self.G) * self.C)
        self.out = Linear(self.H * self.C, config.d_model)
        self.gain = nn.Parameter(torch.ones(self.H))  # sharpness of each head's scores
        self.rounding = False

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        B, T, _ = x.shape
        qkv = self.qkv(x).view(B, T, self.H + 2 * self.G, self.C)
        qk, v = torch.split(qkv, [self.H + self.G, self.G], dim=2)
        qk = rms_norm(rotate(qk, cos, sin))
        if self.rounding:  # values by channel, over the batch: export calibrates them so
            qk, v = rounded(qk, -1), rounded(v, 0, 1)
        q, k = torch.split(qk, [self.H, self.G], dim=2)
        q = q * (self.gain * self.C**-0.5).to(q.dtype)[:, None]
        y = windowed_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), self.window)
        out: Tensor = self.out(y.transpose(1, 2).reshape(B, T, self.H * self.C))
        return out


class MLP(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = Linear(config.d_model, config.d_ff)
        self.down = Linear(config.d_ff, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(F.relu(self.up(x)).square())  # (B, T, D) -> (B, T, F) -> (B, T, D)
        return y


class Block(nn.Module):
    def __init__(self, config: ModelConfig, window: int) -> None:
        super().__init__()
        self.attention = Attention(config, window)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(rms_norm(x), cos, sin)
        y: Tensor = self.mlp(rms_norm(x))
        return x + y


class NgramEmbedding(nn.Module):
    """What the last few tokens mean together: a row of a table for every order, then one matrix.

    Hashed n-gram embeddings (Pagnoni et al., "Byte Latent Transformer", 2024, section 3.2.1), with
    narrow rows of ``ngram_width`` W side by side. Rows are read, not multiplied: parameters at next
    to no time.
    """

    rounding = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.orders, self.bits, self.width = (
            config.ngram_orders,
            config.ngram_bits,
            config.ngram_width,
        )
        self.table = nn.Embedding(config.ngram_rows, self.width)
        self.proj = nn.Linear(len(self.orders) * self.width, config.d_model, bias=False)

    def rows(self, tokens: Tensor) -> Tensor:
        """(B, T) tokens -> (B, T, orders) row numbers; before the first token there were marks."""
        T, past = tokens.shape[1], max(self.orders) - 1
        whole = F.pad(tokens, (past, 0), value=BEGIN_OF_BLOCK)
        rows = []
        for k, order in enumerate(self.orders):
            gram = [whole[:, past - i : past - i + T] for i in reversed(range(order))]
            rows.append((k << self.bits) + ngram_row(gram, self.bits))
        return torch.stack(rows, -1)

    def steps(self) -> Tensor:
        """What an int8 code of a table is worth, one step a table: (orders, 1, 1)."""
        return steps(self.table.weight.view(len(self.orders), -1, self.width), 1, 2)

    def fold(self) -> tuple[Tensor, Tensor]:
        """Tables in units of their steps, and the matrix that takes them: all an engine needs."""
        unit = self.steps()
        table = self.table.weight.view(len(self.orders), -1, self.width) / unit
        columns = unit.flatten().repeat_interleave(self.width)
        return table.flatten(0, 1), self.proj.weight * columns

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) tokens -> (B, T, D)."""
        rows = self.rows(tokens)
        table, matrix = self.table.weight, self.proj.weight
        if self.rounding:
            table, matrix = self.fold()
            table, matrix = table + (table.round() - table).detach(), rounded(matrix, 1)
        return F.linear(F.embedding(rows, table).flatten(2), matrix)


class ByteTransformer(nn.Module):
    """Next-byte logits for sequences of bytes and ``BEGIN_OF_BLOCK`` marks."""

    cos_table: Tensor  # (rope_period,)
    sin_table: Tensor
    turns: Tensor  # (C/2,) int64

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        D = config.d_model
        self.embed = Embedding(config.vocab_size, D)
        self.ngrams = NgramEmbedding(config) if config.ngram_orders else None
        self.blocks = nn.ModuleList(Block(config, w) for w in config.windows)
        self.head = Linear(D, 256)
        for name in ("cos_table", "sin_table"):
            self.register_buffer(name, torch.empty(config.rope_period), persistent=False)
        turns = torch.empty(config.head_dim // 2, dtype=torch.int64)
        self.register_buffer("turns", turns, persistent=False)
        self.fill_tables()
        self.init_weights()

    def fill_tables(self) -> None:
        """Write the rotary tables, which follow from the config and are not saved."""
        cos, sin = rope_table(self.config.rope_period)
        self.cos_table.copy_(torch.from_numpy(cos))
        self.sin_table.copy_(torch.from_numpy(sin))
        self.turns.copy_(torch.tensor(self.config.rope_multipliers))

    def init_weights(self) -> None:
        D = self.config.d_model
        for name, p in self.named_parameters():
            if name.startswith("embed"):
                nn.init.normal_(p)
            elif name.endswith(("out.weight", "down.weight", "head.weight", "table.weight")):
                nn.init.zeros_(p)  # every block starts as the identity (muP-like, modded-nanogpt)
            elif p.ndim == 2:
                nn.init.uniform_(p, -(3**0.5) * D**-0.5, 3**0.5 * D**-0.5)

    def forward(self, tokens: Tensor, start: int = 0) -> Tensor:
        """tokens: (B, T) int64 in [0, 256] -> (B, T, 256) float32 logits of the byte that follows.

        ``start`` is the position of ``tokens[:, 0]``; only differences of positions matter.
        """
        x = self.embed(tokens)  # (B, T, D)
        if self.ngrams is not None:
            x = x + self.ngrams(tokens)
        t = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        angle = (t[:, None] * self.turns) % self.config.rope_period  # (T, C/2)
        cos = self.cos_table[angle][:, None].to(x.dtype)  # (T, 1, C/2): one for all heads
        sin = self.sin_table[angle][:, None].to(x.dtype)
        for block in self.blocks:
            x = block(x, cos, sin)
        logits: Tensor = self.head(rms_norm(x)).float()
        return logits

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` (float32, Hugging Face's layout)."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        self.config.save(path)
        state = {
            name: p.detach().float().cpu().contiguous() for name, p in self.state_dict().items()
        }
        write_atomically(path / FLOAT_FILE, save(state, metadata={"format": "pt"}))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> ByteTransformer:
        """Load what ``save_pretrained`` wrote. Raises InvalidModelError if it does not fit."""
        path = Path(folder)
        model = cls(ModelConfig.load(path))
        try:
            state = load_file(path / FLOAT_FILE)
            # transformers' save_pretrained puts its wrapper's attribute in front of every name.
            model.load_state_dict({k.removeprefix("model."): v for k, v in state.items()})
        except (OSError, RuntimeError, SafetensorError) as error:
            raise InvalidModelError(
                f"{path / FLOAT_FILE}: no weights of the config's shape ({error})"
            ) from error
        return model
