"""zarr's formats 2 and 3: real stores on disk, there and back, and damaged chunks."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import python_fails, run_python

import nncodec
from nncodec import integrations
from nncodec.errors import NNCodecError
from nncodec.integrations.numcodecs import NNCodec as Chunks

if sys.version_info < (3, 11):
    pytest.skip("zarr 3 needs Python 3.11", allow_module_level=True)

import zarr

from nncodec.integrations.zarr import NNCodec as Codec

GRID = np.add.outer(np.arange(60), np.arange(50)).astype("<i2")


@pytest.fixture(autouse=True)
def registered() -> None:
    """As entry points do for the installed package."""
    integrations.register("numcodecs", "zarr")


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-4] ^= 0x55
    path.write_bytes(data)


def test_zarr_of_format_2(tmp_path: Path) -> None:
    store = {"store": tmp_path / "a.zarr", "zarr_format": 2}
    kept = zarr.create_array(
        **store, shape=GRID.shape, chunks=(32, 32), dtype="<i2", compressors=Chunks(level=1)
    )
    kept[:] = GRID
    written = json.loads((tmp_path / "a.zarr" / ".zarray").read_text())
    assert written["compressor"] == {"id": "nncodec", "level": 1}
    assert np.array_equal(zarr.open_array(**store, mode="r")[:], GRID)
    damage(tmp_path / "a.zarr" / "1.1")
    assert np.array_equal(zarr.open_array(**store)[:32], GRID[:32])
    with pytest.raises(nncodec.CorruptDataError):
        zarr.open_array(**store)[:]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """An array of four chunks in a folder."""
    folder = tmp_path / "b.zarr"
    array = zarr.create_array(
        folder, shape=GRID.shape, chunks=(32, 32), dtype="<i2", compressors=Codec(level=1)
    )
    array[:] = GRID
    return folder


def test_zarr(kept: Path) -> None:
    assert np.array_equal(zarr.open_array(kept, mode="r")[:], GRID)
    assert np.array_equal(zarr.open_array(kept, mode="r")[10:40, 7], GRID[10:40, 7])
    written = json.loads((kept / "zarr.json").read_text())["codecs"]
    assert written[-1] == {"name": "nncodec", "configuration": {"level": 1}}
    chunk = nncodec.decompress((kept / "c" / "0" / "0").read_bytes())
    assert np.array_equal(np.frombuffer(chunk, "<i2").reshape(32, 32), GRID[:32, :32])
    array = zarr.open_array(kept)
    array[5, :] = -1
    assert (zarr.open_array(kept)[5] == -1).all()


def test_zarr_shards_and_other_codecs(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "c.zarr",
        shape=GRID.shape,
        chunks=(16, 16),
        shards=(32, 32),
        dtype="<i2",
        filters=zarr.codecs.TransposeCodec(order=(1, 0)),
        compressors=[Codec(level=1), zarr.codecs.Crc32cCodec()],
    )
    array[:] = GRID
    again = zarr.open_array(tmp_path / "c.zarr", mode="r")
    assert np.array_equal(again[:], GRID)
    assert np.array_equal(again[17:19, 30:35], GRID[17:19, 30:35])


@pytest.mark.parametrize(
    ("break_it", "error"),
    [
        (lambda path: damage(path), nncodec.CorruptDataError),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), nncodec.TruncatedError),
        (lambda path: path.write_bytes(b"no archive"), nncodec.CorruptDataError),
    ],
)
def test_zarr_and_damaged_chunks(
    kept: Path, break_it: Callable[[Path], object], error: type[Exception]
) -> None:
    break_it(kept / "c" / "1" / "0")
    array = zarr.open_array(kept, mode="r")
    assert np.array_equal(array[:32], GRID[:32])
    with pytest.raises(error):
        array[:]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"level": 12}, "no level 12"), ({"level": [1]}, "no level"), ({"speed": 1}, "speed")],
)
def test_zarr_metadata_that_make_no_sense(
    kept: Path, settings: dict[str, Any], message: str
) -> None:
    path = kept / "zarr.json"
    written = json.loads(path.read_text())
    written["codecs"][-1]["configuration"] = settings
    path.write_text(json.dumps(written))
    with pytest.raises(NNCodecError, match=message):
        zarr.open_array(kept)


def test_zarr_configuration() -> None:
    assert Codec.from_dict({"name": "nncodec"}) == Codec()
    assert Codec.from_dict(Codec(level=3).to_dict()) == Codec(level=3)
    assert pickle.loads(pickle.dumps(Codec(level=3))) == Codec(level=3)


def test_entry_points_are_enough(kept: Path) -> None:
    """In a process that registers nothing; of the package as it is installed."""
    code = (
        "import importlib.metadata as m, sys; from pathlib import Path; import nncodec\n"
        "found = m.distribution('nncodec-lm')\n"
        "if Path(str(found.locate_file('nncodec'))) != Path(nncodec.__file__).parent: sys.exit(5)\n"
        "import numcodecs, zarr\n"
        "print(zarr.open_array(sys.argv[1])[:].sum(), numcodecs.get_codec({'id': 'nncodec'}))\n"
    )
    result = run_python(code, str(kept))
    if result.returncode == 5:
        pytest.skip("nncodec is imported from a source tree, which has no entry points")
    assert result.returncode == 0, python_fails(result)
    assert result.stdout.decode().split() == [str(GRID.sum()), "NNCodec(level=6)"]
