"""Archives that name a model: a byte Transformer of random weights, and an exact one of tokens."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from fields import Fields, damaged
from forged import Forger, check, header_size, repaired

import nncodec
from nncodec._core import xxh64
from nncodec.blocks import Geometry
from nncodec.causal.exact.blocks import ExactTokens
from nncodec.causal.exact.config import ExactConfig
from nncodec.causal.exact.native import NativeEngine as TokenEngine
from nncodec.causal.exact.weights import ExactModel, token_tensors
from nncodec.causal.exact.weights import expected_shapes as token_shapes
from nncodec.causal.payload import Payload
from nncodec.causal.tokenize import Tokens, untokenize
from nncodec.codec import Codec
from nncodec.config import BEGIN_OF_BLOCK, ModelConfig
from nncodec.container import Block, Frame, Kind
from nncodec.engine.native import NativeContexts, NativeEngine
from nncodec.engine_weights import EngineModel, Shapes, Tensors, expected_shapes
from nncodec.lanes import Coder, no_progress

SHAPE = ModelConfig(d_model=32, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=64, windows=(4, 16))
TOKEN_SHAPE = ExactConfig(
    vocab_size=300, n_symbols=280, begin=1, d_model=32, n_layers=1, n_heads=2, n_kv_heads=1,
    head_dim=16, d_ff=48, context=32, overlap=8, rope_period=64,
    rope_multipliers=(9, 7, 5, 4, 3, 2, 1, 1),
)  # fmt: skip


def random_tensors(shapes: Shapes) -> Tensors:
    rng = np.random.default_rng(3)
    tensors: Tensors = {}
    for name, (dtype, shape) in shapes.items():
        if dtype is np.int8:
            tensors[name] = rng.integers(-127, 128, shape, np.int8)
        elif dtype is np.float32:
            tensors[name] = rng.uniform(0.002, 0.02, shape).astype(np.float32)
    return tensors


@lru_cache
def byte_model() -> EngineModel:
    return EngineModel(SHAPE, random_tensors(expected_shapes(SHAPE)))


@lru_cache
def token_model() -> ExactModel:
    texts: list[bytes | None] = [bytes((i,)) for i in range(256)]
    texts += [b"again and ", b"the ", b"words", b"\xc3\xa9"] + [b"x%d" % i for i in range(20)]
    texts += [None] * 20
    tensors = random_tensors(token_shapes(TOKEN_SHAPE)) | token_tensors(texts)
    return ExactModel(TOKEN_SHAPE, tensors)


@lru_cache
def coders() -> dict[bytes, Coder]:
    tokens = ExactTokens(token_model(), TokenEngine(token_model(), 1))
    return {byte_model().model_id: NativeEngine(byte_model(), 1), token_model().model_id: tokens}


def foretold(size: int) -> bytes:
    """What the byte model expects most: text that it can shorten without context models."""
    state, token, out = NativeEngine(byte_model(), 1).start(), BEGIN_OF_BLOCK, bytearray()
    for _ in range(size):
        token = int(state.advance(np.array([[token]]))[0, 0].argmax())
        out.append(token)
    return bytes(out)


def archive_of(data: bytes, lanes: int, table_bits: int) -> bytes:
    """In one block with the network, even if that makes it longer, as far as a frame allows."""
    array = np.frombuffer(data, np.uint8)
    engine = coders()[byte_model().model_id]
    geometry = Geometry(min(lanes, max(1, len(data) // 2)), min(5, len(data) // 2), table_bits)
    payload = engine.encode(array, geometry, no_progress)
    if len(payload) > len(data) or not data:
        codec = Codec(engine, byte_model().model_id, lanes, table_bits, NativeContexts())
        return codec.compress(array)
    kind = Kind.MIXED if table_bits else Kind.CODED
    row = Block(kind, len(data), len(payload), xxh64(array), geometry)
    return Frame(len(data), len(data), (row,), byte_model().model_id).pack() + payload


def archive_of_tokens(ids: np.ndarray, side: bytes, lanes: int) -> tuple[bytes, bytes]:
    coder = coders()[token_model().model_id]
    assert isinstance(coder, ExactTokens)
    tokens, geometry = Tokens(ids, side), Geometry(lanes)
    data = untokenize(coder.table, tokens)
    coded = coder.coder.encode(ids, geometry)
    payload = Payload(len(ids), side, coded).pack()
    if not 0 < len(payload) <= len(data):
        return b"", b""
    row = Block(Kind.TOKENS, len(data), len(payload), xxh64(data), geometry)
    return Frame(len(data), len(data), (row,), token_model().model_id).pack() + payload, data


@lru_cache
def whole() -> list[tuple[bytes, bytes]]:
    text = b"the words again and again, " * 8
    known = foretold(90)
    pairs = [(archive_of(known, 1, 0), known), (archive_of(b"ab" * 100, 4, 10), b"ab" * 100)]
    pairs.append((archive_of(text, 1, 10), text))
    ids = np.array([256] * 40 + [257, 258, 97] * 4, np.int32)
    pairs += [
        archive_of_tokens(ids, side, lanes) for side in (b"", b"\1\3\2xy") for lanes in (1, 5)
    ]
    assert all(archive for archive, _ in pairs)
    assert nncodec.info(pairs[0][0]).blocks == {"coded": 1}
    return pairs


def TestOneInput(data: bytes) -> None:
    fields = Fields(data)
    way = fields.byte() % 8
    if way < 3:
        check(Forger(fields, tuple(coders())).archive(), coders())
    elif way < 6:
        archive, original = fields.pick(whole())
        broken = damaged(archive, fields)
        if way > 3:
            broken = repaired(archive, broken, header_size(archive))
        out = check(broken, coders())
        if broken == archive:
            assert out == original
    elif way == 6:
        lanes, bits = 1 + fields.byte() % 8, (0, 10)[fields.byte() & 1]
        original = fields.bytes(400)
        assert check(archive_of(original, lanes, bits), coders()) == original
    else:
        lanes = 1 + fields.byte() % 4
        ids = np.frombuffer(fields.bytes(200), np.uint8).astype(np.int32) + 20
        if len(ids) >= lanes:
            archive, original = archive_of_tokens(ids, b"", lanes)
            assert not archive or check(archive, coders()) == original


def seeds() -> list[bytes]:
    return (
        [bytes((way, i, 0, 0)) for way in (3, 4, 5) for i in range(len(whole()))]
        + [bytes((6, 3, i)) + b"ab" * 60 for i in (0, 1)]
        + [bytes((7, 2)) + bytes((236, 237)) * 40]
        + [bytes((0, i)) + bytes(range(40)) for i in range(8)]
    )
