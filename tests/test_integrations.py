"""fsspec, joblib and numcodecs: real files, there and back, and damaged ones; ``register``."""

from __future__ import annotations

import json
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import fsspec
import joblib
import numcodecs
import numpy as np
import pytest
from helpers import TEXT

import nncodec
from nncodec import integrations
from nncodec.errors import MissingPackageError, NNCodecError
from nncodec.integrations.numcodecs import NNCodec as Chunks

DOCS = Path(__file__).resolve().parent.parent / "docs" / "integrations.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
HOSTS = integrations.HOSTS if sys.version_info >= (3, 11) else integrations.HOSTS[:-1]
GRID = np.add.outer(np.arange(60), np.arange(50)).astype("<i2")


@pytest.fixture(autouse=True)
def registered() -> None:
    assert integrations.register() == HOSTS
    assert integrations.register("numcodecs", "joblib") == ("numcodecs", "joblib")


def damage(path: Path, at: int = -4) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)


# --- fsspec


@pytest.mark.parametrize("compression", ["infer", "nncodec"])
def test_fsspec(tmp_path: Path, compression: str) -> None:
    for url in ("memory://x.txt.nnc", f"file://{tmp_path}/x.txt.nnc"):
        with fsspec.open(url, "wb", compression=compression) as file:
            assert file.write(TEXT) == len(TEXT)
        with fsspec.open(url, "rb", compression=compression) as file:
            assert file.read() == TEXT
            assert file.seek(100) == 100
            assert file.read(30) == TEXT[100:130]
        with fsspec.open(url, "rt", compression=compression) as file:
            assert file.read() == TEXT.decode()
    assert nncodec.decompress((tmp_path / "x.txt.nnc").read_bytes()) == TEXT


def test_fsspec_closes_what_it_opened() -> None:
    opened = fsspec.open("memory://y.nnc", "wb", compression="infer")
    with opened as file:
        file.write(b"a")
    assert file.closed
    assert opened.fobjects == []


def test_fsspec_and_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "x.nnc"
    path.write_bytes(nncodec.compress(TEXT, 1))
    damage(path, 12)
    with (
        fsspec.open(path, "rb", compression="infer") as file,
        pytest.raises(nncodec.CorruptDataError, match="frame header"),
    ):
        file.read()
    path.write_bytes(nncodec.compress(TEXT, 1)[:-10])
    with (
        fsspec.open(path, "rb", compression="infer") as file,
        pytest.raises(nncodec.TruncatedError),
    ):
        file.read()


# --- joblib

VALUE = {
    "weights": np.random.default_rng(1).normal(size=(40, 30)).astype("<f4"),
    "columns": np.asfortranarray(GRID),
    "name": "model",
    "steps": [1, 2.5, None],
}


def same(value: Any) -> bool:
    return (
        np.array_equal(value["weights"], VALUE["weights"])
        and np.array_equal(value["columns"], GRID)
        and (value["name"], value["steps"]) == ("model", [1, 2.5, None])
    )


@pytest.mark.parametrize("compress", [("nncodec", 1), ("nncodec", 3), "nncodec", 0])
def test_joblib(tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "value.nnc"
    joblib.dump(VALUE, path, compress=compress)
    assert same(joblib.load(path))
    path = path.rename(tmp_path / "value.other")  # known by its first bytes
    assert same(joblib.load(path))
    with path.open("rb") as file:
        assert same(joblib.load(file))
    assert same(joblib.load(pickle.loads(pickle.dumps(path))))
    assert len(nncodec.decompress(path.read_bytes())) > VALUE["weights"].nbytes


def test_joblib_and_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "value.nnc"
    joblib.dump(VALUE, path, compress=("nncodec", 1))
    damage(path)
    with pytest.raises(nncodec.CorruptDataError, match=r"checksum|damaged"):
        joblib.load(path)
    with pytest.raises(ValueError, match="10"):
        joblib.dump(VALUE, path, compress=("nncodec", 10))


# --- numcodecs

BUFFERS: dict[str, Any] = {
    "bytes": b"some bytes" * 20,
    "bytearray": bytearray(b"some bytes" * 20),
    "float32": np.linspace(0, 1, 500, dtype="<f4"),
    "big endian": np.arange(300, dtype=">i8"),
    "two dimensions": GRID,
    "columns first": np.asfortranarray(GRID),
    "booleans": np.arange(200) % 3 == 0,
    "strings": np.array([b"ab", b"c", b"def"] * 30),
    "dates": np.arange("2020-01-01", "2021-01-01", dtype="M8[D]"),
    "empty": b"",
}


@pytest.mark.parametrize("name", BUFFERS)
def test_numcodecs(name: str) -> None:
    buffer = BUFFERS[name]
    codec = Chunks(level=1)
    flat = np.asarray(buffer if isinstance(buffer, np.ndarray) else np.frombuffer(buffer, "u1"))
    raw = flat.tobytes(order="A")
    packed = codec.encode(buffer)
    assert codec.decode(packed) == raw
    assert codec.decode(np.frombuffer(packed, "u1")) == raw
    out = np.empty_like(flat)
    codec.decode(packed, out=out)
    assert out.tobytes(order="A") == raw
    assert nncodec.decompress(packed) == raw


def test_numcodecs_configuration() -> None:
    codec = Chunks(level=2)
    config = json.loads(json.dumps(codec.get_config()))
    assert config == {"id": "nncodec", "level": 2}
    again = numcodecs.get_codec(config)
    assert isinstance(again, Chunks)
    assert again == codec
    assert pickle.loads(pickle.dumps(codec)) == codec
    assert numcodecs.get_codec({"id": "nncodec"}).level == 6
    for level in (0, 10, "6", None, 1.0, [1]):
        with pytest.raises(NNCodecError, match="no level"):
            numcodecs.get_codec({"id": "nncodec", "level": level})


def test_numcodecs_outputs_of_another_size() -> None:
    packed = Chunks(1).encode(GRID)
    with pytest.raises(NNCodecError, match="6000 bytes, 10 allowed"):
        Chunks().decode(packed, out=np.empty(10, "u1"))
    with pytest.raises(ValueError, match="6000 bytes were decoded for an output of 8000"):
        Chunks().decode(packed, out=np.empty(4000, "<i2"))


# --- all of them


def test_unknown_and_missing_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NNCodecError, match=r"no host 'hdf5': choose from fsspec, joblib"):
        integrations.register("hdf5")
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(MissingPackageError, match=re.escape("pip install 'nncodec-lm[hosts]'")):
        integrations.register("joblib")


@pytest.mark.parametrize("code", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_of_the_documentation(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "zarr" in code and "zarr" not in HOSTS:
        pytest.skip("zarr 3 needs Python 3.11")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
