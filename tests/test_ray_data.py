"""Columns of batches and ranges of files, as Ray Data hands them to actors; and once through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TEXT

import nncodec
from nncodec.errors import LimitError, NNCodecError, WorkerError
from nncodec.integrations import ray_data
from nncodec.integrations.ray_data import (
    CompressColumn,
    CompressRange,
    DecompressColumn,
    Range,
    compress_files,
    plan,
)

pytest.importorskip("fsspec", reason="needs the extra ray", exc_type=ImportError)

VALUES = ["It was the best of times", "", None, "ünï"]


def batch(kind: str) -> Any:
    columns = {"n": [1, 2, 3, 4], "text": VALUES}
    if kind == "numpy":
        return {name: np.array(values, dtype=object) for name, values in columns.items()}
    if kind == "pandas":
        return pytest.importorskip("pandas", exc_type=ImportError).DataFrame(columns)
    return pytest.importorskip("pyarrow", exc_type=ImportError).table(columns)


@pytest.mark.parametrize("kind", ["numpy", "pandas", "pyarrow"])
def test_columns(kind: str) -> None:
    packed = CompressColumn("text", into="archive", level=1)(batch(kind))
    assert type(packed) is type(batch(kind))
    archives = [None if v is None else bytes(v) for v in listed(packed["archive"])]
    expected = [None if v is None else nncodec.compress(v.encode(), 1) for v in VALUES]
    assert archives == expected
    assert listed(packed["text"]) == VALUES
    back = DecompressColumn("archive", text=True)(packed)
    assert listed(back["archive"]) == VALUES
    replaced = CompressColumn("text", level=1)(batch(kind))
    assert [v and bytes(v) for v in listed(replaced["text"])] == expected
    with pytest.raises(NNCodecError, match="no column 'words': there are n, text"):
        CompressColumn("words", level=1)(batch(kind))
    with pytest.raises(NNCodecError, match=r"texts or bytes is needed, not of .*int"):
        CompressColumn("n", level=1)(batch(kind))
    with pytest.raises(LimitError):
        DecompressColumn("archive", max_output_size=3)(packed)


def listed(values: Any) -> list[Any]:
    """With nulls as None, which pandas has as NaN."""
    values = values.to_pylist() if hasattr(values, "to_pylist") else list(values)
    return [None if value != value else value for value in values]


def test_what_cannot_be_is_refused_by_the_constructor() -> None:
    with pytest.raises(NNCodecError, match="no level 10"):
        CompressColumn("text", level=10)


def test_ranges_make_the_archives_of_compress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("nncodec.integrations.ray_data", "nncodec.codec"):
        monkeypatch.setattr(f"{module}.frame_bytes", lambda: 1000)
    data = TEXT * 9
    (tmp_path / "text").write_bytes(data)
    ranges = list(plan(3, str(tmp_path / "text")))
    assert len(ranges) == -(-len(data) // 1000) > 2
    assert {(piece.file, piece.size) for piece in ranges} == {(3, len(data))}
    encode = CompressRange(1, None, 1024).encode
    archive = b"".join(map(encode, ranges))
    assert archive == nncodec.compress(data, 1, block_size=1024)
    np.save(tmp_path / "weights.npy", np.arange(5000, dtype=np.float32))
    [whole] = plan(0, str(tmp_path / "weights.npy"))  # as its parts depend on its header
    weights = (tmp_path / "weights.npy").read_bytes()
    assert CompressRange(1, None, None).encode(whole) == nncodec.compress(weights, 1)
    with pytest.raises(NNCodecError, match="changed while it was read"):
        encode(Range(0, str(tmp_path / "text"), 0, 10, len(data) + 1))


def test_an_empty_file_and_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    [piece] = plan(0, str(tmp_path / "empty"))
    assert CompressRange(1, None, None).encode(piece) == nncodec.compress(b"", 1)
    assert compress_files([], str(tmp_path)) == []


def test_files_that_cannot_be_compressed() -> None:
    with pytest.raises(NNCodecError, match="two of the files have one name"):
        compress_files(["a/x", "b/x"], "out")
    with pytest.raises(NNCodecError, match=r"cannot read gone/x: no such file"):
        compress_files(["gone/x"], "out")


def test_what_ray_wraps_comes_out() -> None:
    ray = pytest.importorskip("ray", reason="needs the extra ray", exc_type=ImportError)
    inner = NNCodecError("x changed")
    outer = RuntimeError("UserCodeException")
    outer.__cause__ = inner
    assert ray_data.cause(outer) is inner
    died = ray_data.cause(ray.exceptions.ActorDiedError())
    assert isinstance(died, WorkerError)
    assert "3 workers were lost to one range; the last was killed" in str(died)
    assert str(ray_data.cause(OSError(28, "No space left on device"))) == (
        "Ray Data failed: no space left on device"
    )


def test_files_appear_when_they_are_complete(tmp_path: Path) -> None:
    pieces = [{"file": 0, "archive": b"one"}, {"file": 0, "archive": b"two"}]
    targets = [str(tmp_path / "new" / "a.nnc"), "memory://folder/b.nnc"]
    ray_data.write(targets, iter([*pieces, {"file": 1, "archive": b"three"}]))
    assert (tmp_path / "new" / "a.nnc").read_bytes() == b"onetwo"
    memory = pytest.importorskip("fsspec").filesystem("memory")
    assert memory.cat("/folder/b.nnc") == b"three"

    def failing() -> Any:
        yield {"file": 0, "archive": b"half"}
        raise OSError("the cluster is gone")

    for target in (str(tmp_path / "c.nnc"), "memory://folder/c.nnc"):
        with pytest.raises(OSError, match="gone"):
            ray_data.write([target], failing())
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert memory.ls("/folder", detail=False) == ["/folder/b.nnc"]
