"""Bytes to blocks of tokens and back, by a float model; and by context models where these win.

A language model costs a thousand times what context models do. So these code every block first,
and what holds little text is left to them; where both are tried the smaller is kept. The encoder
goes step by step as the decoder will, and unless told otherwise decodes what it made: that floats
repeat is an observation, not a promise, so it is made again for every archive.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nncodec._core import PayloadError
from nncodec.blocks import DEFAULT_TABLE_BITS, Bytes, Geometry
from nncodec.causal import coding
from nncodec.causal.coding import TokenGeometry
from nncodec.causal.environment import Environment
from nncodec.causal.folder import CausalFolder
from nncodec.causal.memory import lane_bytes, lanes_that_fit
from nncodec.causal.payload import Payload, most_side
from nncodec.causal.predictor import CausalModel, Settings, describe
from nncodec.causal.tokenize import Tokens, load_tokenizer, no_text, tokenize, untokenize
from nncodec.codec import CODED_FIELDS, Codec
from nncodec.container import Block, Kind
from nncodec.engine.native import NativeContexts
from nncodec.errors import CorruptDataError, NNCodecError
from nncodec.lanes import Progress, no_progress
from nncodec.levels import LEVELS

# By level: lanes at most, and tokens a lane at least. Each lane begins knowing only the prefix.
LANES = {
    1: (128, 256),
    2: (128, 256),
    3: (64, 256),
    4: (64, 512),
    5: (32, 512),
    6: (32, 1024),
    7: (16, 2048),
    8: (8, 4096),
    9: (1, 1),
}
PREFIX_TOKENS = 64
MOST_ESCAPED_PCT = 50  # of a block's bytes: else it is hardly text
SAMPLE_BYTES, SAMPLES = 1 << 14, 8
TIMED_STEPS = 4  # after as many the time that is left can be told
LONG = 20.0  # seconds, from which on it is told


class TokenCoder:
    """A float model as a coder of blocks, in an environment that has been compared."""

    of_tokens = True

    def __init__(self, model: CausalModel) -> None:
        self.model = model
        self.widths = np.array([len(token or b"") for token in model.table.bytes_of], np.int64)

    @property
    def state_bytes(self) -> int:
        """What decoding keeps of each lane, its context full; an estimate, as torch decides."""
        return lane_bytes(self.model)

    def within(self, environment: bytes) -> TokenCoder:
        """Itself, if that is its own. Raises EnvironmentMismatchError."""
        Environment.parse(environment).check(self.model.environment)
        return self

    def encode(self, data: Bytes, geometry: Geometry, progress: Progress) -> bytes:
        """A payload of (n,) ``data``; ``geometry`` counts tokens."""
        tokens = tokenize(self.model.table, load_tokenizer(self.model.folder.path), data.tobytes())
        return self.encode_tokens(tokens, geometry, self.counter(progress))

    def encode_tokens(self, tokens: Tokens, geometry: Geometry, done: coding.Done) -> bytes:
        cut = TokenGeometry(len(tokens.ids), geometry.lanes, geometry.prefix)
        with self.model.running():
            words = coding.encode(tokens.ids, cut, self.model, done)
        return Payload(len(tokens.ids), tokens.side, words).pack()

    def decode(self, payload: bytes, size: int, geometry: Geometry, progress: Progress) -> bytes:
        """Inverse of ``encode``. Raises PayloadError, CorruptDataError."""
        parsed = Payload.parse(payload, size)
        left, count = size, self.counter(progress)

        def done(came: npt.NDArray[np.int32]) -> None:
            nonlocal left
            left -= int(self.widths[came].sum())
            if left < 0:  # damage is random text, which need not be decoded to its end
                raise PayloadError("more bytes than the block has")
            count(came)

        data = untokenize(
            self.model.table, Tokens(self.decode_ids(parsed, geometry, done), parsed.side)
        )
        if len(data) != size:
            raise CorruptDataError("a block is damaged: its tokens have another length than it")
        progress(left)
        return data

    def decode_ids(
        self, payload: Payload, geometry: Geometry, done: coding.Done
    ) -> npt.NDArray[np.int32]:
        if geometry.table_bits:
            raise CorruptDataError("a block is damaged: a table for tokens, which have none")
        if geometry.prefix > payload.count or geometry.lanes > max(1, payload.count):
            raise CorruptDataError("a block is damaged: more lanes than tokens")
        cut = TokenGeometry(payload.count, geometry.lanes, geometry.prefix)
        with self.model.running():
            return coding.decode(payload.coded, cut, self.model, done)

    def counter(self, progress: Progress) -> coding.Done:
        """Tokens as the bytes that they stand for."""
        return lambda came: progress(int(self.widths[came].sum()))


class FloatModel:
    """What an archive's model id leads to: a coder once the environment is known."""

    of_tokens = True

    def __init__(
        self, folder: CausalFolder, threads: int | None = None, any_environment: bool = False
    ) -> None:
        self.folder, self.threads, self.any_environment = folder, threads, any_environment

    def within(self, environment: bytes) -> TokenCoder:
        """Threads follow the archive unless they were given. Raises EnvironmentMismatchError."""
        there = Environment.parse(environment)
        threads = self.threads or there.threads
        settings = Settings(there.dtype, there.device, threads, there.context)
        if not self.any_environment:
            there.check(describe(settings, there.context))
        return TokenCoder(load_model(self.folder, settings))

    def encode(self, data: Bytes, geometry: Geometry, progress: Progress) -> bytes:
        raise NNCodecError("a float model codes in an environment only")

    def decode(self, payload: bytes, size: int, geometry: Geometry, progress: Progress) -> bytes:
        raise CorruptDataError("frame header: a float model without its numeric environment")


class CausalCodec(Codec):
    """A codec whose network is somebody's causal language model."""

    def __init__(
        self,
        model: CausalModel,
        level: int,
        verify: bool = True,
        lanes: int | None = None,
        notify: Callable[[str], object] = lambda _text: None,
    ) -> None:
        plan = LEVELS[level]
        self.tokens, self.verify, self.notify = TokenCoder(model), verify, notify
        super().__init__(
            self.tokens, model.folder.model_id, threads=model.threads, tensors=plan.tensors
        )
        bits = max(plan.table_bits, DEFAULT_TABLE_BITS)
        self.alone = Codec(NativeContexts(), None, 1, bits)  # for all that is not text
        most, self.lane_tokens = LANES[level]
        if lanes:  # as many as were asked for, if there is a token for each
            most, self.lane_tokens = lanes, 2
        self.most_lanes = min(most, model.most_lanes)
        self.tokenizer = load_tokenizer(model.folder.path)
        self.environment = model.environment.pack()

    def encode_block(self, data: Bytes, progress: Progress) -> tuple[Block, bytes | memoryview]:
        row, payload = self.alone.encode_block(data, no_progress)
        tried = None
        if row.kind in (Kind.STORED, Kind.CONTEXTS) and row.size > 0:
            with self.turn:
                tried = self.try_tokens(data, progress)
        if tried is None:
            progress(len(data))
            return row, payload
        geometry, coded = tried
        if len(coded) + CODED_FIELDS + len(self.environment or b"") >= row.payload_size:
            return row, payload
        return Block(Kind.TOKENS, len(data), len(coded), row.checksum, geometry), coded

    def try_tokens(self, data: Bytes, progress: Progress) -> tuple[Geometry, bytes] | None:
        """Geometry and payload; None where there is little text."""
        model = self.tokens.model
        if not mostly_text(data):
            return None
        tokens = tokenize(model.table, self.tokenizer, data.tobytes())
        escaped = len(tokens.side)
        if escaped * 100 > len(data) * MOST_ESCAPED_PCT or escaped > most_side(len(data)):
            return None
        geometry = self.geometry(len(tokens.ids))
        halves = 2 if self.verify else 1
        done = Watch(self, len(tokens.ids), geometry, halves, progress)
        payload = self.tokens.encode_tokens(tokens, geometry, done)
        if self.verify:
            parsed = Payload.parse(payload, len(data))
            try:
                again = self.tokens.decode_ids(parsed, geometry, done)
            except PayloadError:
                again = tokens.ids[:0]
            if not np.array_equal(again, tokens.ids) or parsed.side != tokens.side:
                raise NNCodecError(
                    "the model computed other floats the second time, so what it coded cannot be "
                    "decoded: try -T 1, --device cpu or --dtype float32"
                )
        progress(len(data) - done.reported)
        return geometry, payload

    def geometry(self, count: int) -> Geometry:
        """A power of two of lanes, as many as are worth while and fit into memory."""
        lanes = 1
        most = min(self.most_lanes, lanes_that_fit(self.tokens.model))
        while 2 * lanes <= most and 2 * lanes * self.lane_tokens <= count:
            lanes *= 2
        return Geometry(lanes, min(PREFIX_TOKENS, count // 8) if lanes > 1 else 0)


def mostly_text(data: Bytes) -> bool:
    """Whether samples are, so that large binary files are not cut into millions of escapes."""
    starts = np.linspace(0, max(0, len(data) - SAMPLE_BYTES), SAMPLES, dtype=np.int64).tolist()
    escaped = sum(no_text(data[at : at + SAMPLE_BYTES].tobytes()) for at in sorted(set(starts)))
    taken = sum(len(data[at : at + SAMPLE_BYTES]) for at in set(starts))
    return escaped * 100 <= taken * MOST_ESCAPED_PCT


class Watch:
    """Counts tokens as bytes of the file, and tells how long it will take once that is known."""

    def __init__(
        self, codec: CausalCodec, count: int, geometry: Geometry, passes: int, progress: Progress
    ) -> None:
        self.codec, self.passes, self.progress = codec, passes, progress
        rest = -(-(count - geometry.prefix) // geometry.lanes)
        self.steps = passes * (geometry.prefix + rest)
        self.lanes = geometry.lanes
        self.bytes = self.reported = self.step = 0
        self.began = time.monotonic()

    def __call__(self, came: npt.NDArray[np.int32]) -> None:
        self.bytes += int(self.codec.tokens.widths[came].sum())
        now = self.bytes // self.passes
        self.progress(now - self.reported)
        self.reported, self.step = now, self.step + 1
        if self.step == 1:
            self.began = time.monotonic()
        if self.step == 1 + TIMED_STEPS:
            seconds = (time.monotonic() - self.began) / TIMED_STEPS * self.steps
            if seconds >= LONG:
                what = "coding and checking" if self.passes > 1 else "coding"
                lanes = "one lane" if self.lanes == 1 else f"{self.lanes} lanes"
                self.codec.notify(
                    f"{what} will take about {duration(seconds)} in {lanes}; a lower level takes "
                    "more lanes where there is text for them, and without -m it takes seconds"
                )


def duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"


@lru_cache(maxsize=1)
def load_model(folder: CausalFolder, settings: Settings) -> CausalModel:
    """One at a time is kept: they are large."""
    return CausalModel(folder, settings)
