"""The second decoder, written from docs/FORMAT*.md alone, and the product: they decode the same
bytes and reject the same archives. scripts/check_independent.py decodes all golden archives.
"""

from __future__ import annotations

import ast
import json
import random
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from golden_table import BY_NAME, GOLDEN, GOLDENS, ROOT, Golden, engine_of
from helpers import coded_row, forge
from independent.decoder import decode as decode_independently
from independent.errors import Rejected
from independent.model_folder import finder
from independent.token_folder import read_folder
from safetensors.numpy import save
from test_container import ABSURD, CONSTANT, EMPTY, REJECTED, STORED, tokens_row

import nncodec
from nncodec.blocks import BLOCK_SIZE
from nncodec.causal.exact.weights import ExactModel
from nncodec.container import Kind, skippable_frame, varint
from nncodec.errors import InvalidModelError, NNCodecError

PACKAGE = Path(__file__).resolve().parent / "independent"
FIND = finder([ROOT / "models", GOLDEN / "models"])
LARGER = ("v0_contexts_code.bin", "v1_tensors_layer.gguf", "v1_delta_tuned")
OTHERS = ("v1_tokens_", "v1_fields_")
DECODED = [
    golden
    for golden in GOLDENS
    if golden.way != "of_floats"
    and (golden.brief or golden.name in LARGER or golden.name.startswith(OTHERS))
]


@pytest.fixture(scope="module", autouse=True)
def engines() -> Iterator[None]:
    """What the table keeps of them is let go in the end."""
    yield
    engine_of.cache_clear()


def second(archive: bytes, base: bytes | None = None) -> bytes | None:
    try:
        return decode_independently(archive, FIND, base)
    except Rejected:
        return None


def product(archive: bytes, base: bytes | None = None, model: str | None = None) -> bytes | None:
    try:
        return nncodec.decompress(archive, base=base, model=model)
    except NNCodecError:
        return None


def test_it_is_independent() -> None:
    """It imports itself, numpy and the standard library."""
    allowed = sys.stdlib_module_names | {"numpy"}
    modules = list(PACKAGE.glob("*.py"))
    assert len(modules) > 30
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, path
            if isinstance(node, ast.ImportFrom):
                assert node.level == 1 or (node.module or "").split(".")[0] in allowed, path
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_module":
                (name,) = [ast.unparse(argument) for argument in node.args[:1]]
                assert name == "f'.{_module}'", path


@pytest.mark.parametrize("golden", DECODED, ids=lambda golden: golden.name)
def test_golden_archives(golden: Golden) -> None:
    assert second(golden.path.read_bytes(), golden.base_bytes) == golden.bytes


def test_floats_are_refused_with_their_reason() -> None:
    archive = BY_NAME["v1_tokens_floats"].path.read_bytes()
    with pytest.raises(Rejected, match=r"float model, of torch '0\.0\.golden'"):
        decode_independently(archive, FIND)


ITEM = b"\0\0" + varint(1)
FORGED = {
    "no frame but a skippable one": skippable_frame(0x80, b"abc"),
    "a skippable frame cut short": STORED + skippable_frame(0x80, b"abc")[:-1],
    "tokens with a table": forge(bytes(16) + b"\x03\x03" + tokens_row(1, 10), flags=1) + b"a",
    "tokens and bytes": forge(bytes(16) + b"\x06\x03" + tokens_row(1) + coded_row(1), flags=1),
    "a base that is not there": forge(bytes(16) + b"\0\0", flags=2),
    "an item too long": forge(b"\x0b\x0b\x05\x05" + bytes(8) + b"\1" + ITEM + b"\x0c") + bytes(5),
    "a product of 2^64": forge(
        b"\x08\x08\x05\x05" + bytes(8) + b"\1\0\0" + varint(1 << 62) + varint(4)
    )
    + bytes(5),
    "dtype 1": forge(b"\x0b\x0b\x05\x05" + bytes(8) + b"\1\1\0\1\x0b") + bytes(5),
    "ggml's blocks in fields": forge(b"\x12\x12\x06\x05" + bytes(8) + b"\1\x20\0\1\1") + bytes(5),
    "an environment of nothing": forge(b"\0\0\0", flags=16),
    **{f"version {v}": forge(b"\0\0", version=v) for v in (2, 15, 16, 255)},
    **{f"flags {f}": forge(b"\0\0", flags=f) for f in (4, 8, 12, 32, 64, 128)},
}


@pytest.mark.parametrize("table", ["REJECTED", "ABSURD", "FORGED"])
def test_both_reject(table: str) -> None:
    archives = {
        "REJECTED": {name: archive for name, (archive, _) in REJECTED.items()},
        "ABSURD": ABSURD,
        "FORGED": FORGED,
    }[table]
    assert len(archives) > 8
    for name, archive in archives.items():
        assert product(archive) is None, name
        assert second(archive) is None, name


@pytest.mark.parametrize("archive", [EMPTY, STORED, CONSTANT, EMPTY + STORED + CONSTANT])
def test_both_read_what_is_small(archive: bytes) -> None:
    assert second(archive) == product(archive) is not None


def test_both_take_what_only_looks_odd() -> None:
    """Frames of both formats, skippable ones, a block size above the total."""
    odd = forge(b"\x03" + varint(BLOCK_SIZE) + STORED[8:18]) + b"abc"
    older = forge(b"\0\0", version=0)
    archive = skippable_frame(0, b"") + older + odd + skippable_frame(255, odd) + STORED
    assert second(archive) == product(archive) == b"abcabc"


@cache
def prepared(name: str) -> tuple[bytes, bytes | None, str | None]:
    golden = BY_NAME[name]
    return golden.path.read_bytes(), golden.base_bytes, golden.model_folder


# Archive, damages: a few CPU seconds each.
DAMAGED = {
    "v1_brief_blocks": 10,
    "v1_brief_network": 18,
    "v1_brief_skippable": 15,
    "v1_brief_x86": 15,
    "v1_fields_codes.safetensors": 60,
    "v1_tokens_plain": 30,
    "v1_tokens_escapes": 30,
    "v1_tensors_layer.gguf": 8,
    "v1_brief_grouped_lanes": 60,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_both_agree_on_damage(name: str) -> None:
    """Bits flipped, bytes replaced, cut out, doubled and added at the end; also under the header's
    checksum made right."""
    archive, base, model = prepared(name)
    rng, accepted = random.Random(name), 0
    for number in range(DAMAGED[name]):
        damaged = damage(archive, rng, number)
        expected = product(damaged, base, model)
        assert second(damaged, base) == expected, (name, number)
        accepted += expected is not None
    assert accepted < DAMAGED[name]


def damage(archive: bytes, rng: random.Random, number: int) -> bytes:
    at = rng.randrange(len(archive))
    if number % 2:  # headers are what most of the rules are about, endings what few are
        at = rng.choice((rng.randrange(min(60, len(archive))), len(archive) - rng.randrange(1, 9)))
    tail = archive[at + 1 :]
    return (
        archive[:at] + bytes((archive[at] ^ 1 << rng.randrange(8),)) + tail,
        archive[:at] + rng.randbytes(1) + tail,
        archive[:at] + tail,
        archive[:at] + archive[at : at + 1] * 2 + tail,
        archive + rng.randbytes(rng.randrange(1, 4)),
        archive[:at] + rng.randbytes(4) + archive[at + 4 :],
    )[rng.randrange(6)]


ENDINGS = [bytes(k) for k in range(1, 9)] + [b"\1", b"\x80", b"\xff" * 7, b"\xff" * 8]


@pytest.mark.parametrize("more", ENDINGS, ids=lambda more: more.hex())
def test_both_agree_on_what_may_follow_a_payload(more: bytes) -> None:
    """Up to 8 - k bytes behind the k last ones that an encoder writes: docs/FORMAT.md says so."""
    data = b"abc" * 60
    whole = nncodec.compress(data, 1)
    row = whole.index(b"\x04", 6)
    size = whole[row + 1]
    head = whole[6:row] + bytes((4, size + len(more))) + whole[row + 2 : row + 11]
    assert len(whole) == row + 11 + 4 + size
    archive = forge(head) + whole[-size:] + more
    assert second(archive) == product(archive)
    assert second(archive) in (data, None)
    assert len(more) < 8 or second(archive) is None


CONFIG_LIES = {
    "begin": 1 << 20, "context": 1, "head_dim": 3, "n_heads": 5, "rope_period": 62,
    "overlap": 0, "qk_norm": 2, "n_layers": 0, "d_model": True, "vocab_size": -7,
}  # fmt: skip


@pytest.mark.parametrize("field", CONFIG_LIES)
def test_both_reject_folders_that_lie(tmp_path: Path, field: str) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(GOLDEN / "models" / "plain", folder)
    assert read_folder(folder).id == ExactModel.load(folder).model_id
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {field: CONFIG_LIES[field]}))
    read_folder.cache_clear()
    with pytest.raises(Rejected):
        read_folder(folder)
    with pytest.raises(InvalidModelError):
        ExactModel.load(folder)


def test_every_kind_is_decoded() -> None:
    kinds = " ".join(nncodec.info(golden.path.read_bytes()).blocks.__repr__() for golden in DECODED)
    for kind in Kind:
        assert f"'{kind.name.lower()}'" in kinds, kind


def odd_tensors(rng: np.random.Generator) -> dict[str, npt.NDArray[np.generic]]:
    """What the golden archives have none of: sparse integers, wide ones, columns that no group
    divides, noise, ends of a dtype's range."""
    sparse = rng.random((12, 70)) < 0.8
    small = np.rint(rng.normal(0, 3, (12, 70)))
    return {
        "a": np.where(sparse, 0, small).astype(np.int8),
        "b": np.where(sparse, 128, 128 + small).astype(np.uint8),
        "c": np.rint(rng.normal(0, 9000, (9, 40))).astype(np.int16),
        "d": np.array([[-32768, 32767, 0, -1, 1] * 9] * 4, np.int16),
        "e": rng.integers(0, 256, (5, 61)).astype(np.uint8),
        "f": np.array([[np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45, 3e38, 1.0] * 5] * 6, np.float32),
        "g": rng.normal(0, 1, (7, 37)).astype(np.float16),
        "h": np.tile(rng.normal(0, 1, (1, 130)).astype(np.float32), (4, 1)),
    }


@pytest.mark.parametrize("level", [1, 4])
def test_odd_tensors(level: int) -> None:
    data = save(odd_tensors(np.random.default_rng(level)))
    archive = nncodec.compress(data, level, model="nano" if level > 1 else None)
    kinds = nncodec.info(archive).blocks
    assert "tensors" in kinds or "fields" in kinds
    assert second(archive) == data


def test_odd_deltas() -> None:
    """Integers and floats that moved, a row that is alone, elements that did not move."""
    rng = np.random.default_rng(3)
    tensors = odd_tensors(rng)
    base = save(tensors)
    for name in "abegh":
        moved = tensors[name].copy()
        change = rng.random(moved.shape) < 0.2
        moved[change] += np.ones(1, moved.dtype)[0]
        tensors[name] = moved
    data = save(tensors)
    archive = nncodec.compress(data, 1, base=base)
    assert "delta" in nncodec.info(archive).blocks
    assert second(archive, base) == data == product(archive, base)
