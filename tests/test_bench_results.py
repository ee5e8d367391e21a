"""The table as a file: whatever a cell holds comes back; what is no table is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncodec.bench.results import COLUMNS, Row, key_of, read_results, write_results
from nncodec.errors import BenchError, NNCodecError

CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
NOT_UTF8 = st.binary(max_size=8).map(
    lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)
ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMNS, CELL | NOT_UTF8)), max_size=3)


@given(ROWS)
def test_every_cell_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    path = tmp_path_factory.mktemp("table") / "table.csv"
    table = {key_of(row): row for row in rows}
    write_results(path, table.values())
    assert list(read_results(path).items()) == list(table.items())
    assert path.read_bytes().startswith(",".join(COLUMNS).encode() + b"\n")


def test_no_file_and_an_empty_one_have_no_rows(tmp_path: Path) -> None:
    assert read_results(tmp_path / "none") == {}
    (tmp_path / "empty").touch()
    assert read_results(tmp_path / "empty") == {}


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "\0", '"'])
def test_what_is_no_table(text: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(BenchError, match=r"table\.csv is no "):
        read_results(tmp_path / "table.csv")


def test_a_row_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_results(path, [dict.fromkeys(COLUMNS, "x")])
    path.write_text(path.read_text()[:-9])
    with pytest.raises(BenchError, match=r"table\.csv: line 2 has not as many cells"):
        read_results(path)
    path.write_text(path.read_text().strip() + ",x" * 9 + "\n")
    with pytest.raises(BenchError, match=r"table\.csv: line 2 has not as many cells"):
        read_results(path)


def test_a_full_disk_is_an_error_that_names_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(NNCodecError, match=r"cannot write .*table\.csv: no space left on device"):
        write_results(tmp_path / "table.csv", [dict.fromkeys(COLUMNS, "x")])
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(NNCodecError, match="cannot write"):
        write_results(tmp_path / "none" / "table.csv", [])
