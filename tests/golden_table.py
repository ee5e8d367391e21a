"""How every golden archive is made: what tests/golden holds, as a table.

``scripts/make_golden.py`` mints from it what is missing, ``test_golden`` decodes all of it and
makes the archives of the present format again. What an archive decodes to is an expression:
``prose.txt[:1500]`` is a part of a sample, ``access.log[:1]*300`` one that is repeated, ``+``
stands between several. ``noise`` and ``long.safetensors`` are made here; all other names are files
of corpora/samples and corpora/weights.
"""

from __future__ import annotations

import hashlib
import random
import re
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from golden_models import FLOAT_MODEL, exact_model, float_archive, greedy_tokens

import nncodec
from nncodec import modelstore
from nncodec._core import xxh64
from nncodec.blocks import Geometry
from nncodec.causal.exact.blocks import ExactTokens
from nncodec.causal.exact.native import NativeEngine as ExactEngine
from nncodec.codec import Codec
from nncodec.container import NO_GEOMETRY, Block, Frame, Kind, skippable_frame
from nncodec.engine.native import NativeContexts, NativeEngine, choose_isa
from nncodec.engine_weights import EngineModel
from nncodec.frames import Coded, chain
from nncodec.lanes import no_progress
from nncodec.levels import LEVELS
from nncodec.tensors.base import Base

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
FOLDERS = ROOT / "corpora" / "samples", ROOT / "corpora" / "weights"
TERM = re.compile(r"([\w.]+)(?:\[(\d*):(\d*)\])?(?:\*(\d+))?")


@dataclass(frozen=True)
class Golden:
    """``way`` says how it is made: the functions below of these names. ``level`` 0: of none."""

    name: str  # of the archive, without .nnc
    data: str  # what it decodes to
    way: str = "compressed"
    level: int = 0
    model: str = ""
    base: str = ""
    geometry: Geometry = NO_GEOMETRY

    @property
    def path(self) -> Path:
        return GOLDEN / f"{self.name}.nnc"

    @property
    def written(self) -> bool:
        """Whether its format is the one that is written; others are only read."""
        return self.name.startswith("v1_") and not self.foreign

    @property
    def foreign(self) -> bool:
        """Whether another encoder made it: one of the second decoder's authors, from the format's
        documents alone. This release reads it, and would write other bytes of the same."""
        return self.way == "foreign"

    @property
    def brief(self) -> bool:
        """Whether a slow decoder has it in seconds."""
        return "_brief_" in self.name or self.foreign

    @property
    def bytes(self) -> bytes:
        return data_of(self.data)

    @property
    def base_bytes(self) -> bytes | None:
        return data_of(self.base) if self.base else None

    @property
    def model_folder(self) -> str | None:
        """Of a model that is minted here, too."""
        folder = GOLDEN / "models" / self.model
        return str(folder) if self.model and folder.is_dir() else None


def samples(tag: str, level: int, model: str, names: str, way: str = "compressed") -> list[Golden]:
    return [Golden(f"{tag}_{name}", name, way, level, model) for name in names.split()]


FOREIGN = {
    "coded_lanes_no_prefix": ("prose.txt[100:1103]", "foreign", 0, "small"),
    "coded_all_prefix": ("prose.txt[:300]", "foreign", 0, "small"),
    "coded_300": ("prose.txt[:700]", "foreign", 0, "nano"),
    "coded_x86": ("code.bin[:2000]", "foreign", 0, "nano"),
    "mixed_256_lanes": ("events.json[:1500]", "foreign", 0, "nano"),
    "mixed_prefix_of_one": ("prose.txt[7:600]", "foreign", 0, "small"),
    "contexts_escapes_upper": ("surrogates.json", "foreign"),
    "contexts_long_match": ("crlf*3000", "foreign"),
    "contexts_records_change": ("records.bin", "foreign"),
    "contexts_x86_overlapping": ("targets.bin", "foreign"),
    "skippables": ("prose.txt[:200]+access.log[:300]+events.json[:300]", "foreign"),
    "versions_joined": ("prose.txt[:200]+access.log[:300]", "foreign"),
    "block_above_total": ("prose.txt[:300]", "foreign"),
    "empty_chain": ("noise[:0]", "foreign"),
    "models_joined": ("prose.txt[:200]+access.log[:300]", "foreign"),
}
TEXTS = "access.log code.bin events.json notes.json prose.txt readings.csv table.bin"
GOLDENS = [
    # Format 0: read, no longer written.
    *samples(
        *("v0_nano", 0, "nano", "access.log events.json prose.txt readings.csv table.bin"),
        way="by_network",
    ),
    *samples("v0_mixed", 2, "nano", TEXTS),
    *samples("v0_contexts", 1, "", TEXTS),
    *samples("v0_small", 6, "small", TEXTS),
    # Format 1.
    *samples("v1_contexts", 1, "", TEXTS),
    *samples("v1_mixed", 2, "nano", TEXTS),
    *samples("v1_small", 6, "small", TEXTS),
    *samples("v1_nano", 0, "nano", "prose.txt", way="by_network"),
    *samples("v1_tensors", 4, "nano", "layer.safetensors codes.safetensors layer.gguf"),
    *samples("v1_fields", 1, "", "layer.safetensors codes.safetensors long.safetensors"),
    Golden("v1_delta_tuned", "tuned.safetensors", level=1, base="layer.safetensors"),
    # Exact models over tokens, and a float one.
    Golden("v1_tokens_plain", "prose.txt[:1500]", "of_tokens", model="plain"),
    Golden(
        *("v1_tokens_lanes", "prose.txt[1500:3000]+noise[:9]+prose.txt[3000:3600]", "of_tokens"),
        model="biased",
        geometry=Geometry(lanes=3, prefix=10),
    ),
    Golden(
        *("v1_tokens_escapes", "prose.txt[:500]+noise[:40]*5+prose.txt[500:900]", "of_tokens"),
        model="plain",
        geometry=Geometry(lanes=2),
    ),
    Golden("v1_tokens_floats", "prose.txt[:64]", "of_floats", model=FLOAT_MODEL),
    # Brief: for slow decoders.
    Golden("v1_brief_empty", "noise[:0]", level=1),
    Golden("v1_brief_byte", "noise[:1]", level=1),
    Golden("v1_brief_constant", "access.log[:1]*70000", level=1),
    Golden("v1_brief_stored", "noise[:600]", level=1),
    Golden("v1_brief_contexts", "prose.txt[:2000]", level=1),
    Golden("v1_brief_log", "access.log[:3000]", level=1),
    Golden("v1_brief_records", "table.bin[:3000]", level=1),
    Golden("v1_brief_mixed", "prose.txt[:1200]", level=2, model="nano"),
    Golden("v1_brief_small", "prose.txt[2000:2700]", level=6, model="small"),
    Golden("v1_brief_network", "readings.csv[:1000]", "by_network", model="nano"),
    Golden(
        *("v1_brief_lanes", "prose.txt[4000:6001]", "in_lanes"),
        model="nano",
        geometry=Geometry(lanes=4, prefix=300, table_bits=11),
    ),
    Golden(
        *("v1_brief_many_lanes", "events.json[:1500]", "in_lanes"),
        model="nano",
        geometry=Geometry(lanes=7, prefix=0, table_bits=12),
    ),
    Golden(
        *("v1_brief_network_lanes", "readings.csv[:1111]", "in_lanes"),
        model="nano",
        geometry=Geometry(lanes=3, prefix=100),
    ),
    Golden("v1_brief_x86", "code.bin[:3000]", level=1),
    Golden("v1_brief_escapes_lower", "notes.json[:2500]", level=1),
    Golden("v1_brief_escapes_upper", "capitals.json", level=2, model="nano"),
    Golden("v1_brief_joined", "prose.txt[:700]+access.log[:800]", "joined", 1),
    Golden("v1_brief_chained", "prose.txt[:700]+noise[:40]+access.log[:800]", "chained", 1),
    Golden(
        *("v1_brief_blocks", "prose.txt[:600]+noise[:600]+access.log[:1]*600+prose.txt[600:900]"),
        *("in_blocks", 2, "nano"),
    ),
    # What the documents say and none of the above decides.
    Golden("v1_brief_table", "table.bin[:8600]", level=1),  # long enough for records to be found
    Golden("v1_brief_long_matches", "access.log[:300]*9", level=1),
    Golden("v1_brief_skippable", "prose.txt[:700]+access.log[:800]", "with_skippable_frames", 1),
    Golden(
        *("v1_brief_all_prefix", "prose.txt[:400]", "in_lanes"),
        model="nano",
        geometry=Geometry(lanes=1, prefix=400, table_bits=10),
    ),
    Golden(
        *("v1_brief_grouped", "grouped.txt[:600]", "in_lanes"),
        model="grouped",
        geometry=Geometry(lanes=2, prefix=0, table_bits=10),
    ),
    Golden(
        *("v1_brief_grouped_lanes", "grouped.txt[600:1290]", "in_lanes"),
        model="grouped",
        geometry=Geometry(lanes=9, prefix=41),
    ),
    # By another encoder.
    *(Golden(f"v1_foreign_{name}", *made) for name, made in FOREIGN.items()),
]
BY_NAME = {golden.name: golden for golden in GOLDENS}


def terms(expression: str) -> list[bytes]:
    parts = []
    for term in expression.split("+"):
        match = TERM.fullmatch(term)
        assert match, term
        begin, end = (int(number) if number else None for number in match.group(2, 3))
        parts.append(source(match[1])[begin:end] * int(match[4] or 1))
    return parts


@cache
def source(name: str) -> bytes:
    if name == "noise":
        return b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(40))
    if name == "long.safetensors":
        sys.path.append(str(ROOT / "scripts"))
        from sample_weights import long_file

        return long_file()
    if name in MADE:
        return MADE[name]()
    return next(folder / name for folder in FOLDERS if (folder / name).exists()).read_bytes()


def surrogates() -> bytes:
    """Escapes of JSON in capitals: pairs, lone surrogates, ends of the ranges of UTF-8."""
    line = (
        r"\uD83D\uDE00 \uD83D X \uDC00\uD800 \u00E9\u0080\u007F \u0416\uFFFF "
        r"\uDBFF\uDFFF \u07FF\u0800 "
    )
    return b'{"A": "' + line.encode() * 12 + b'"}'


def records() -> bytes:
    """Records of seven bytes, then of twelve."""
    seven = [struct.pack("<IHB", i * 77, i % 5, 7) for i in range(700)]
    twelve = [struct.pack("<IIHBB", 9, i * 1001, i % 3, 200, i % 7) for i in range(700)]
    return b"".join(seven + twelve)


def targets() -> bytes:
    """Calls and jumps of x86 whose targets overlap."""
    rng = random.Random(5)
    return bytes(rng.choice(b"\xe8\xe8\x00\x00\x00\xff\xe9\x0f\x80\x48\x05") for _ in range(1500))


def spoken() -> bytes:
    """What the model ``grouped`` says: it knows no language."""
    rng, state, token = random.Random("said"), engine_of("grouped", "portable", 1)[0].start(), 256
    said = bytearray()
    for _ in range(1290):
        counts = state.advance(np.array([[token]]))[0, 0]
        token = int(np.searchsorted(np.cumsum(counts), rng.randrange(1 << 24), side="right"))
        said.append(token)
    return bytes(said)


MADE: dict[str, Callable[[], bytes]] = {
    "grouped.txt": spoken,
    "crlf": lambda: b"\r\n",
    "surrogates.json": surrogates,
    "records.bin": records,
    "targets.bin": targets,
}


def data_of(expression: str) -> bytes:
    return b"".join(terms(expression))


def array(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(data, dtype=np.uint8)


@cache
def engine_of(model: str, isa: str, threads: int) -> tuple[NativeEngine, bytes]:
    own = GOLDEN / "models" / model
    weights = EngineModel.load(own) if own.is_dir() else modelstore.find(model)
    return NativeEngine(weights, threads, isa), weights.model_id


def codec_of(golden: Golden, threads: int) -> Codec:
    """As ``nncodec.api.load_codec`` has it, with an engine of the instruction set in use."""
    plan = LEVELS[golden.level]
    if not golden.model:
        return Codec(NativeContexts(), None, 1, plan.table_bits, tensors=plan.tensors)
    engine, model_id = engine_of(golden.model, choose_isa(), threads)
    bounds = plan.lanes, plan.table_bits, NativeContexts(), plan.lane_bytes
    return Codec(engine, model_id, *bounds, threads=threads, tensors=plan.tensors)


def compressed(golden: Golden, threads: int) -> bytes:
    """As ``nncodec.compress`` does at its level."""
    base = golden.base_bytes
    own = Base(array(base)) if base is not None else None
    return codec_of(golden, threads).compress(array(golden.bytes), base=own)


def by_network(golden: Golden, threads: int) -> bytes:
    """The network alone: no level writes such blocks."""
    engine, model_id = engine_of(golden.model, choose_isa(), threads)
    return Codec(engine, model_id, table_bits=0).compress(array(golden.bytes))


def in_lanes(golden: Golden, threads: int) -> bytes:
    """One block of a geometry that no level would choose for so few bytes."""
    engine, model_id = engine_of(golden.model, choose_isa(), threads)
    payload = engine.encode(array(golden.bytes), golden.geometry, no_progress)
    kind = Kind.MIXED if golden.geometry.table_bits else Kind.CODED
    return framed([(kind, golden.bytes, golden.geometry, payload)], model_id)


def joined(golden: Golden, threads: int) -> bytes:
    """Each part an archive, one after the other."""
    codec = codec_of(golden, threads)
    return b"".join(codec.compress(array(part)) for part in terms(golden.data))


def chained(golden: Golden, threads: int) -> bytes:
    """Each part a frame of one chain."""
    codec = codec_of(golden, threads)
    return b"".join(chain(codec.encode_frame(array(part)) for part in terms(golden.data)))


def with_skippable_frames(golden: Golden, threads: int) -> bytes:
    """A chain with skippable frames in front of it, within it and behind it."""
    codec = codec_of(golden, threads)
    first, last = (codec.encode_frame(array(part)) for part in terms(golden.data))
    skipped = skippable_frame(0x80, source("noise")[:200]) + skippable_frame(0xFF, b"")
    pieces = skippable_frame(0x81, b"a note"), *first.pieces(continues=False, more=True), skipped
    return b"".join((*pieces, *last.pieces(continues=True, more=False), skipped))


def foreign(golden: Golden, _threads: int) -> bytes:
    raise LookupError(f"{golden.name} comes from another encoder: restore it from the history")


def in_blocks(golden: Golden, threads: int) -> bytes:
    """Each part a block of one frame."""
    codec, parts = codec_of(golden, threads), terms(golden.data)
    rows, payloads = zip(
        *(codec.encode_block(array(part), no_progress) for part in parts), strict=True
    )
    frame = Frame(len(golden.bytes), len(parts[0]), rows, codec.model_id)
    return b"".join(chain([Coded(frame, payloads)]))


def of_tokens(golden: Golden, threads: int) -> bytes:
    """A block of tokens, cut greedily, by an exact model."""
    model, data = exact_model(golden.model), golden.bytes
    coder = ExactTokens(model, ExactEngine(model, threads))
    tokens = greedy_tokens(coder.table, data)
    payload = coder.encode_tokens(tokens, golden.geometry, no_progress)
    return framed([(Kind.TOKENS, data, golden.geometry, payload)], model.model_id)


def of_floats(golden: Golden, _threads: int) -> bytes:
    """What no machine can decode: its environment is none."""
    return float_archive(golden.bytes)


def framed(blocks: list[tuple[Kind, bytes, Geometry, bytes]], model_id: bytes) -> bytes:
    rows = tuple(Block(k, len(d), len(p), xxh64(array(d)), g) for k, d, g, p in blocks)
    total = sum(row.size for row in rows)
    frame = Frame(total, rows[0].size, rows, model_id)
    return b"".join(chain([Coded(frame, tuple(payload for *_, payload in blocks))]))


def blocks_of(archive: bytes) -> str:
    """``contexts stored*2``: the kinds of an archive's blocks."""
    counted = nncodec.info(archive).blocks
    return " ".join(name if n == 1 else f"{name}*{n}" for name, n in sorted(counted.items()))


WAYS: dict[str, Callable[[Golden, int], bytes]] = {
    way.__name__: way
    for way in (
        *(compressed, by_network, in_lanes, joined, chained, in_blocks),
        *(of_tokens, of_floats, with_skippable_frames, foreign),
    )
}


def make(golden: Golden, threads: int = 1) -> bytes:
    """The archive; on the instruction set of ``NNCODEC_ISA``."""
    return WAYS[golden.way](golden, threads)
