"""The CPU's and the GPU's windowed attention against each other and against plain attention."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nncodec.lm.attention import chunked_attention, fused_attention, windowed_attention


def plain_attention(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    group, T = q.shape[1] // k.shape[1], q.shape[2]
    k, v = (x.repeat_interleave(group, 1) for x in (k, v))
    row, col = torch.arange(T)[:, None], torch.arange(T)[None, :]
    unseen = (col > row) | (col <= row - window)
    return (q @ k.transpose(-1, -2)).masked_fill(unseen, float("-inf")).softmax(-1) @ v


def outcome(attention: object, inputs: list[Tensor], window: int, into: Tensor) -> list[Tensor]:
    """Value and the gradients of all inputs."""
    assert callable(attention)
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = attention(*leaves, window)
    return [y.detach(), *torch.autograd.grad(y, leaves, into)]


@pytest.mark.parametrize("heads", [(2, 1), (4, 2), (3, 3)], ids=str)
@pytest.mark.parametrize("length", [1, 5, 16, 33, 64])
@pytest.mark.parametrize("window", [1, 4, 16, 100])
def test_both_agree_with_plain_attention(window: int, length: int, heads: tuple[int, int]) -> None:
    H, G = heads
    make = torch.Generator().manual_seed(window * 1000 + length)
    shapes = [(3, H, length, 8), (3, G, length, 8), (3, G, length, 8), (3, H, length, 8)]
    *inputs, into = (torch.randn(shape, generator=make) for shape in shapes)
    expected = outcome(plain_attention, inputs, window, into)
    for attention in (chunked_attention, fused_attention, windowed_attention):
        for got, want in zip(outcome(attention, inputs, window, into), expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_fused_attention_takes_what_autocast_leaves() -> None:
    """Float32 queries and keys beside bf16 values, as the model makes them."""
    make = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn((2, 2, 20, 8), generator=make) for _ in range(3))
    got = fused_attention(q, k, v.bfloat16(), 8)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), plain_attention(q, k, v, 8), rtol=0.05, atol=0.05)


@pytest.mark.gpu
def test_fused_attention_on_a_gpu() -> None:
    make = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn((2, h, 1000, 64), generator=make) for h in (4, 1, 1))
    expected = plain_attention(q, k, v, 64)
    got = windowed_attention(q.cuda(), k.cuda(), v.cuda(), 64).cpu()
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)
