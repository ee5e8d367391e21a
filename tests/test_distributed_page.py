"""docs/distributed.md: its examples run; Spark's function as Spark calls it, by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers import python_fails, run_python

import nncodec

PAGE = Path(__file__).parent.parent / "docs" / "distributed.md"
TEXT = "It was the best of times\n"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the page is not beside the suite")


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_python_and_ray_data(tmp_path: Path) -> None:
    """In a file, as workers import it again."""
    pytest.importorskip("ray", reason="needs the extra ray", exc_type=ImportError)
    assert len(examples()) == 5
    workers, columns, files, *_ = examples()
    cluster = (
        "from nncodec.parallel.cluster import Cluster\n"
        "if __name__ == '__main__':\n    Cluster(2, 100 << 20)\n"
    )
    (tmp_path / "example.py").write_text(workers + cluster + columns + files)
    result = run_python(
        "import runpy; runpy.run_path('example.py', run_name='__main__')", cwd=tmp_path
    )
    assert result.returncode == 0, python_fails(result)
    for name in ("one.log", "two.log"):
        expected = nncodec.compress((tmp_path / name).read_bytes(), 1)
        assert (tmp_path / "packed" / f"{name}.nnc").read_bytes() == expected


def test_dask(tmp_path: Path) -> None:
    pytest.importorskip("dask.bag", reason="needs dask", exc_type=ImportError)
    (tmp_path / "example.py").write_text(examples()[3])
    result = run_python(
        "import runpy; runpy.run_path('example.py', run_name='__main__')", cwd=tmp_path
    )
    assert result.returncode == 0, python_fails(result)


def test_the_function_for_spark() -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas", exc_type=ImportError)
    recipe: dict[str, object] = {"__name__": "recipe"}
    exec(examples()[4], recipe)
    frames = [
        pandas.DataFrame({"id": [n, n + 1], "text": [TEXT * n, TEXT * (n + 1)]}) for n in (0, 2)
    ]
    coded = list(recipe["archives"](iter(frames)))  # type: ignore[operator]
    assert [list(frame.columns) for frame in coded] == [["id", "archive"]] * 2
    rows = [row for frame in coded for row in frame.itertuples()]
    assert [row.id for row in rows] == [0, 1, 2, 3]
    assert all(nncodec.decompress(row.archive).decode() == TEXT * row.id for row in rows)
