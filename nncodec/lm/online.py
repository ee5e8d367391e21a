"""Prequential code length: a network that knows nothing at first and learns from what it codes.

The weights of a shipped model are part of the price of its archives, however that is counted. Here
nothing is shipped: random weights by a seed, and every byte is charged before they have seen it
(Dawid, "The prequential approach", 1984; Rissanen's predictive code). The file is cut into
contiguous streams that advance together, a segment a step. One forward pass gives the counts of a
segment and, once its bytes are known, the gradient of their cost.

The figure is that of a real payload, by the range coder's own integers. It is no archive: a decoder
must repeat every float of training, and so needs the same torch on the same kind of machine. It
would repeat the forward pass for each byte of a segment; what is not yet known there cannot reach
backwards, to the bit, because attention weighs it with exactly zero (``tests/test_online.py``
decodes that way).

Non-goals: archives, and speed beyond what one core gives a megabyte in a few minutes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from nncodec._core import MixedEncoder, RangeEncoder
from nncodec.blocks import Bytes, lane_lengths
from nncodec.config import BEGIN_OF_BLOCK
from nncodec.engine.exact import counts_from_logits
from nncodec.engine.native import choose_isa
from nncodec.errors import NNCodecError
from nncodec.lanes import Progress, no_progress
from nncodec.lm.model import ByteTransformer
from nncodec.lm.online_plan import OnlinePlan
from nncodec.lm.plan import TrainConfig
from nncodec.lm.train import make_optimizers
from nncodec.numerics import COUNT_BITS
from nncodec.trace import COST_ONE

Counts = npt.NDArray[np.int32]


@dataclass(frozen=True)
class OnlineResult:
    """What ``size`` bytes cost; the program is not counted, nor what says which plan it was."""

    size: int
    payload: bytes
    costs: npt.NDArray[np.float64]  # (n,) bits of each byte, at its position in the file
    parameters: int

    @property
    def bits_per_byte(self) -> float:
        return 8 * len(self.payload) / max(1, self.size)


class Streams:
    """A file's streams side by side, as far as they are known, each behind a context of marks.

    Byte t of stream s is ``tokens[s, context + 1 + t]``; a mark stands for whatever is not there.
    """

    def __init__(self, size: int, plan: OnlinePlan) -> None:
        self.plan = plan
        self.lengths = lane_lengths(size, max(1, min(plan.streams, size)))
        self.steps = -(-self.lengths[0] // plan.segment)
        width = plan.context + 1 + self.steps * plan.segment
        self.tokens = torch.full((len(self.lengths), width), BEGIN_OF_BLOCK)

    def places(self, step: int) -> npt.NDArray[np.int64]:
        """Where a step's bytes lie in the file, in coding order: all streams' first, and so on."""
        begin = step * self.plan.segment
        times = np.arange(begin, min(begin + self.plan.segment, self.lengths[0]))[:, None]
        starts = np.cumsum([0, *self.lengths[:-1]])
        return (starts + times)[times < self.lengths]

    def fill(self, step: int, symbols: Bytes) -> None:
        """A step's bytes in coding order, or the first of them, are known."""
        plan, lanes = self.plan, len(self.lengths)
        grid = torch.full((plan.segment * lanes,), BEGIN_OF_BLOCK)
        grid[: len(symbols)] = torch.from_numpy(symbols.astype(np.int64))
        begin = plan.context + 1 + step * plan.segment
        self.tokens[:, begin : begin + plan.segment] = grid.view(plan.segment, lanes).T


class OnlineNetwork:
    """A model and its optimizers in the middle of a file: ``predict`` and ``learn``, in turns."""

    def __init__(self, streams: Streams, plan: OnlinePlan) -> None:
        self.streams, self.plan, self.step = streams, plan, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            self.model = ByteTransformer(plan.shape)
        self.draw = torch.Generator().manual_seed(plan.seed)
        rates = TrainConfig(
            muon_lr=plan.muon_lr, adam_lr=plan.adam_lr, weight_decay=plan.weight_decay
        )
        self.optimizers = make_optimizers(self.model, rates)
        self.starts = self.replayed()

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    def replayed(self) -> Tensor:
        """(rows, 2): stream and first column of the old windows that are learnt once more."""
        last = (self.step - 1) * self.plan.segment  # whose window ends where the step begins
        rows = self.plan.replay if self.step > 1 else 0
        stream = torch.randint(len(self.streams.lengths), (rows,), generator=self.draw)
        start = torch.randint(max(1, last + 1), (rows,), generator=self.draw)
        return torch.stack((stream, start), 1)

    def windows(self) -> Tensor:
        """(B, context + segment + 1) tokens: every stream's, then those learnt once more."""
        context, length = self.plan.context, self.plan.segment
        begin = self.step * length
        tokens = self.streams.tokens
        now = tokens[:, begin : begin + context + length + 1]
        stream, start = self.starts.T
        old = tokens[stream[:, None], start[:, None] + torch.arange(context + length + 1)]
        return torch.cat((now, old))

    def predict(self) -> Counts:
        """Counts of the step's bytes, (streams, segment, 256), each by those before it."""
        self.logits = self.model(self.windows()[:, :-1])
        n = len(self.streams.lengths)
        base2 = self.logits.detach()[:n, self.plan.context :] / math.log(2)
        if not bool(base2.isfinite().all()):
            raise NNCodecError(
                f"the network diverged at step {self.step}: lower the rates of the plan"
            )
        return counts_from_logits(base2).to(torch.int32).numpy()

    def learn(self) -> None:
        """One step of training on what was predicted, now that ``streams`` holds it."""
        plan, n = self.plan, len(self.streams.lengths)
        targets = self.windows()[:, 1:]
        known = targets != BEGIN_OF_BLOCK
        costs = F.cross_entropy(
            self.logits.flatten(0, 1),
            targets.masked_fill(~known, -100).flatten(),
            ignore_index=-100,
            reduction="none",
        ).view(targets.shape)
        weights = torch.full(targets.shape, plan.context_weight)
        weights[:n, plan.context :] = 1.0
        weights[n:] = plan.replay_weight
        loss = (costs * weights).sum() / known[:n, plan.context :].sum()
        torch.autograd.backward(loss)
        rate = plan.rate(self.step)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.starts = self.replayed()


class NetworkCoder:
    """The network's counts as they are."""

    def __init__(self) -> None:
        self.coder = RangeEncoder()

    def encode(self, counts: Counts, symbols: Bytes) -> npt.NDArray[np.float64]:
        """Code (n,) symbols by (n, 256) counts; the bits that each cost."""
        self.coder.encode(counts, symbols)
        bits: npt.NDArray[np.float64] = COUNT_BITS - np.log2(
            np.take_along_axis(counts, symbols[:, None].astype(np.int64), 1)[:, 0]
        )
        return bits

    def finish(self) -> bytes:
        return self.coder.finish()


class MixedCoder:
    """The network's counts beside context models, which see the streams as lanes of a block."""

    def __init__(self, size: int, lanes: int, table_bits: int) -> None:
        self.coder = MixedEncoder(size, lanes, 0, table_bits, True, choose_isa())

    def encode(self, counts: Counts, symbols: Bytes) -> npt.NDArray[np.float64]:
        """Code (n,) symbols by (n, 256) counts; the bits that each cost."""
        bits: npt.NDArray[np.float64] = self.coder.encode(counts, symbols) / COST_ONE
        return bits

    def finish(self) -> bytes:
        return self.coder.finish()


def online_code_length(
    data: Bytes, plan: OnlinePlan, progress: Progress = no_progress
) -> OnlineResult:
    """What (n,) ``data`` costs by a network that begins as random weights, and context models.

    Without ``plan.table_bits`` the network is alone. Raises NNCodecError if training diverges.
    """
    streams = Streams(len(data), plan)
    network = OnlineNetwork(streams, plan)
    lanes = len(streams.lengths)
    coder = MixedCoder(len(data), lanes, plan.table_bits) if plan.table_bits else NetworkCoder()
    costs = np.zeros(len(data))
    for step in range(streams.steps):
        places = streams.places(step)
        symbols = data[places]
        streams.fill(step, symbols)  # the forward pass is causal: see above
        counts = network.predict()
        # Coding order: all streams of a byte, then the next byte; streams that ended come last.
        rows = np.ascontiguousarray(counts.transpose(1, 0, 2)).reshape(-1, 256)[: len(places)]
        costs[places] = coder.encode(rows, symbols)
        network.learn()
        progress(len(places))
    payload = coder.finish() if len(data) else b""
    return OnlineResult(len(data), payload, costs, network.parameters)
