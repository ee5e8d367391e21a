"""Payloads (FORMAT.md, "Payloads"): a function for each kind of block, in DECODERS.

Those of kinds 5 to 8 are modules of their own; they are imported last, as they use this one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt

from . import container
from .container import Frame, Row
from .errors import Rejected
from .lane_state import Lane, begin_byte, end_byte
from .lanes import Part, parts
from .mixer import Mixer
from .model_folder import load
from .network import Network, State
from .range_decoder import RangeDecoder

FindModel = Callable[[bytes], Path | None]


@dataclass(frozen=True)
class Surroundings:
    """What a block has besides its row and payload."""

    frame: Frame
    model: Path | None
    base: bytes | None


class Reading:
    """The model as it reads a block ("Lanes and the order of coding")."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.state = network.new_state()
        self.inputs = [256]

    def enter(self, part: Part) -> None:
        """Every lane of a part goes on with a copy of what there is."""
        self.state = State.copies(self.state, part.lanes)
        self.inputs = self.inputs * part.lanes

    def counts(self, active: int) -> npt.NDArray[np.int64]:
        """The counts for the next byte of the first `active` lanes."""
        return self.network.read(self.state, self.inputs[:active])


def reading(surroundings: Surroundings) -> Reading:
    folder, frame = surroundings.model, surroundings.frame
    if folder is None or frame.model_id is None:
        raise Rejected("a block without the model that it needs")
    return Reading(load(folder, frame.model_id))


def decode_stored(row: Row, payload: bytes, surroundings: Surroundings) -> bytes:
    return payload


def decode_constant(row: Row, payload: bytes, surroundings: Surroundings) -> bytes:
    return payload * row.length


def decode_coded(row: Row, payload: bytes, surroundings: Surroundings) -> bytes:
    """Bytes by the model's counts ("Coded")."""
    coder = RangeDecoder(payload)
    model = reading(surroundings)
    symbols = bytearray(row.coded_size)
    for part in parts(row.coded_size, row.prefix, row.lanes):
        model.enter(part)
        for step in range(part.length(0)):
            for lane, counts in enumerate(model.counts(part.active(step))):
                symbol = coder.decode(counts)
                symbols[part.start(lane) + step] = model.inputs[lane] = symbol
    coder.finish()
    return bytes(symbols)


def decode_mixed(row: Row, payload: bytes, surroundings: Surroundings) -> bytes:
    """Bits by the model and the mixer ("Mixed")."""
    model = reading(surroundings)
    return mix(payload, row.coded_size, row.prefix, row.lanes, row.table_bits, model)


def decode_contexts(row: Row, payload: bytes, surroundings: Surroundings) -> bytes:
    """Bits by the mixer alone ("Contexts")."""
    return mix(payload, row.coded_size, 0, 1, row.table_bits, None)


def mix(
    payload: bytes, n: int, prefix: int, lanes: int, table_bits: int, model: Reading | None
) -> bytes:
    """n coded bytes of a mixed or contexts block (FORMAT-mixer.md, "The frame of it")."""
    coder = RangeDecoder(payload)
    mixer = Mixer(table_bits, with_network=model is not None)
    symbols = bytearray(n)
    heads = [Lane()]
    for part in parts(n, prefix, lanes):
        heads = [heads[0].copy() for _ in range(part.lanes)]
        for lane, head in enumerate(heads):
            head.start_run(part.start(lane))
        if model is not None:
            model.enter(part)
        for step in range(part.length(0)):
            active = part.active(step)
            sums = bit_tree(model.counts(active)) if model is not None else None
            for lane in range(active):
                begin_byte(mixer, part, lane, step, heads[lane], symbols)
                c0 = 1
                while c0 < 256:
                    network = 0
                    if sums is not None:
                        network = 65536 * int(sums[lane, 2 * c0 + 1]) // int(sums[lane, c0])
                    bit = coder.decode_bit(mixer.predict(network))
                    mixer.learn(bit)
                    c0 = 2 * c0 + bit
                symbols[part.start(lane) + step] = c0 - 256
                end_byte(mixer, part, lane, step, heads[lane], symbols)
                if model is not None:
                    model.inputs[lane] = c0 - 256
    coder.finish()
    return bytes(symbols)


def bit_tree(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Of each lane's counts the sums below every node of the tree of bits ("Mixed")."""
    sums = np.zeros((len(counts), 512), np.int64)
    sums[:, 256:] = counts
    for half in (128, 64, 32, 16, 8, 4, 2, 1):
        sums[:, half : 2 * half] = sums[:, 2 * half : 4 * half].reshape(-1, half, 2).sum(axis=2)
    return sums


PayloadDecoder = Callable[[Row, bytes, Surroundings], bytes]

DECODERS: dict[int, PayloadDecoder] = {
    container.STORED: decode_stored,
    container.CONSTANT: decode_constant,
    container.CODED: decode_coded,
    container.MIXED: decode_mixed,
    container.CONTEXTS: decode_contexts,
}

for _kind, _module in {
    container.TENSORS: "tensors",
    container.FIELDS: "fields",
    container.DELTA: "delta",
    container.TOKENS: "tokens",
}.items():
    DECODERS[_kind] = import_module(f".{_module}", __package__).decode_payload
