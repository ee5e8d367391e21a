"""Causal attention over the last ``window`` positions, as a CPU and as a GPU do it best.

T is cut into chunks of ``window``; a chunk's queries see its own keys and the previous chunk's,
which covers the window exactly. Cheaper than masked full attention by T / (2 * window).

Shapes: B sequences, T positions, H heads, G key/value heads, C = head_dim.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def windowed_attention(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """q: (B, H, T, C), scaled; k and v: (B, G, T, C) -> (B, H, T, C)."""
    attention = fused_attention if q.device.type == "cuda" else chunked_attention
    return attention(q, k, v, window)


def fused_attention(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Scores stay inside the kernel of ``scaled_dot_product_attention``; chunks are its heads.

    The heads of a group are rows of one product, so keys and values are not copied for each.
    ``flex_attention`` would do the same; it has no gradient on a CPU, where this is tested.
    """
    B, H, T, C = q.shape
    G = k.shape[1]
    group = H // G
    w = min(window, T)
    pad = -T % w
    q, k = q.to(v.dtype), k.to(v.dtype)  # under autocast the norm before has made them float32
    q, k, v = (F.pad(x, (0, 0, 0, pad)) for x in (q, k, v))
    n = (T + pad) // w
    q = q.view(B, G, group, n, w, C).transpose(2, 3).reshape(B * G, n, group * w, C)
    k, v = k.reshape(B * G, n, w, C), v.reshape(B * G, n, w, C)
    row = torch.arange(w, device=q.device)[:, None].repeat(group, 1)  # (group * w, 1)
    col = torch.arange(2 * w, device=q.device)[None, :]
    y = F.scaled_dot_product_attention(  # the first chunk has no previous one
        q[:, :1], k[:, :1], v[:, :1], attn_mask=col[:, :w] <= row, scale=1.0
    )
    if n > 1:  # then w is the window
        k, v = (torch.cat((x[:, :-1], x[:, 1:]), 2) for x in (k, v))
        seen = (col > row) & (col <= row + w)
        rest = F.scaled_dot_product_attention(q[:, 1:], k, v, attn_mask=seen, scale=1.0)
        y = torch.cat((y, rest), 1)
    y = y.view(B, G, n, group, w, C).transpose(2, 3).reshape(B, H, n * w, C)
    return y[:, :, :T]


def chunked_attention(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Two batched products a chunk; quicker on a CPU than fused kernels."""
    B, H, T, C = q.shape
    G = k.shape[1]
    w = min(window, T)
    pad = -T % w
    q, k, v = (F.pad(x, (0, 0, 0, pad)) for x in (q, k, v))
    n = (T + pad) // w
    q = q.view(B, G, H // G, n, w, C).transpose(2, 3).reshape(B, G, n, H // G * w, C)
    k, v = k.view(B, G, n, w, C), v.view(B, G, n, w, C)
    if n > 1:
        k, v = (torch.cat((F.pad(x[:, :, :-1], (0, 0, 0, 0, 1, 0)), x), 3) for x in (k, v))
    row = torch.arange(w, device=q.device)[:, None] + (k.shape[3] - w)
    col = torch.arange(k.shape[3], device=q.device)[None, :]
    seen = (col <= row) & (col > row - window)  # (w, keys)
    if n > 1:  # the first chunk has no previous one
        first = torch.arange(n, device=q.device)[:, None, None] == 0
        seen = seen & ~(first & (col < w))  # (n, w, keys)
    bias = torch.zeros_like(seen, dtype=q.dtype).masked_fill(~seen, float("-inf"))
    scores = q @ k.transpose(-1, -2)  # (B, G, n, H/G * w, keys)
    scores = scores.view(B, G, n, H // G, w, -1) + (bias[:, None] if n > 1 else bias)
    y = scores.softmax(-1).to(v.dtype).view(B, G, n, H // G * w, -1) @ v
    y = y.view(B, G, n, H // G, w, C).transpose(2, 3).reshape(B, H, n * w, C)
    return y[:, :, :T]
