"""The page about costs says what its tables were made of; the formulas, the calibration."""

from __future__ import annotations

import csv
import importlib
import itertools
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
ENGINES = ("thread", "process")


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("cost_model")


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("scaling_model")


def test_the_page_has_the_tables_that_the_rows_give(cost: ModuleType) -> None:
    model = cost.model_of(cost.RESULTS, cost.Assumptions())
    text = cost.DOCUMENT.read_text(encoding="utf-8")
    assert [mark for mark, _ in cost.stale(model, text)] == []


def test_a_figure_typed_by_hand_is_found(cost: ModuleType) -> None:
    model = cost.model_of(cost.RESULTS, cost.Assumptions())
    text = cost.DOCUMENT.read_text(encoding="utf-8")
    assert "$0.04" in text
    assert [mark for mark, _ in cost.stale(model, text.replace("$0.04", "$0.05", 1))]


def rate_rows(encode: dict[str, float], ratio: dict[str, float]) -> list[dict[str, str]]:
    size = 1 << 20
    return [
        {
            "device": "cpu", "status": "measured", "codec": codec, "kind": "text", "at_once": "1",
            "bytes": str(size), "block_bytes": str(1 << 24), "direction": way, "runs": "1",
            "cpu_seconds": str(size / rate), "wall_seconds": str(size / rate),
            "archive_bytes": str(round(size * ratio[codec])), "peak_mib": "50",
        }
        for codec, rate in encode.items()
        for way in ("encode", "decode")
    ]  # fmt: skip


@pytest.fixture
def model(cost: ModuleType, scaling: ModuleType) -> object:
    speeds = {"nncodec:1": 1e6, "nncodec:9": 1e5, "xz:9e": 1e7}
    ratios = {"nncodec:1": 0.25, "nncodec:9": 0.2, "xz:9e": 0.3}
    rates = cost.Rates(rate_rows(speeds, ratios))
    return cost.Model(rates, scaling.Measured([]), cost.Assumptions(core_hour=0.036, stored=0.1))


def test_money_of_a_terabyte(cost: ModuleType, model: object) -> None:
    assert model.coding(1e6) == pytest.approx(10)  # type: ignore[attr-defined]
    row = next(line for line in cost.terabyte(model).splitlines() if line.startswith("| -1 "))
    assert [cell.strip() for cell in row.split("|")][2:4] == ["278", "278"]


def test_break_even(cost: ModuleType, model: object) -> None:
    one, nine, peer = (model.rates.long(c) for c in ("nncodec:1", "nncodec:9", "xz:9e"))  # type: ignore[attr-defined]
    # A terabyte at level 1 costs 10 dollars, with xz one; it saves 50 GB: 5 dollars a month.
    assert cost.months(model, one, peer) == pytest.approx(9 / 5, rel=1e-3)
    assert cost.months(model, peer, one) == math.inf
    # Sending 50 GB less saves 4 dollars, reading costs 9 more.
    assert cost.transfers(model, one, peer) == math.inf
    cheap = cost.Model(model.rates, model.scaling, cost.Assumptions(core_hour=0.0036))  # type: ignore[attr-defined]
    assert cost.transfers(cheap, one, peer) == pytest.approx(0.9 / (4 - 0.9), rel=1e-3)
    price = cost.core_price(model, one, peer)
    hours = 2 * (1e12 / 1e6 - 1e12 / 1e7) / 3600
    assert price * hours == pytest.approx(4, rel=1e-3)
    # Packing and reading on n cores, and a link that makes both ways as long.
    width = cost.link(nine, peer, 16)
    ours, theirs = (1e12 * (s.ratio / width + 2 / s.encode / 16) for s in (nine, peer))
    assert ours == pytest.approx(theirs)


def test_what_was_not_measured_is_said(
    cost: ModuleType, model: object, scaling: ModuleType
) -> None:
    assert "not measured" in cost.gpu(model)
    assert "not measured" in cost.rates(model)
    empty = cost.Model(cost.Rates([]), scaling.Measured([]), cost.Assumptions())
    assert "Not measured yet" in cost.rates(empty)
    assert "Not measured yet" in cost.scaling(empty)
    known = cost.Model(model.rates, model.scaling, cost.Assumptions(gpu_rate=1e8))  # type: ignore[attr-defined]
    assert "not measured" not in cost.gpu(known)


def test_parts_of_an_upload_grow(cost: ModuleType) -> None:
    assert cost.parts(1 << 24) == 3
    assert cost.parts(1000 * (1 << 24) + 1) == 1003
    assert cost.parts(1e12) < 6_000 < 1e12 / (1 << 24)


def scaling_rows(scaling: ModuleType) -> object:
    """Processes: start 1 s, an item 1 ms, a byte 1 ns; threads nothing. Coding: 1 MB a second."""
    block = {"start": 1 << 24, "items": 1 << 10, "bytes": 1 << 20, "large": 1 << 20}
    size = {"start": 1024, "items": 1 << 20, "bytes": 1 << 28, "large": 8 << 20}
    rows = []
    for case, whole in size.items():
        items = -(-whole // block[case])
        serial = 0.0 if case == "start" else items * 1e-3 + whole * 1e-9
        for engine, workers in itertools.product(("thread", "process"), (1, 2)):
            coded = whole / 1e6 / workers if case == "large" else 0.0
            coded += 1 + serial if engine == "process" else 0
            row = {"case": case, "engine": engine, "workers": str(workers), "quick": "0"}
            more = {"bytes": str(whole), "block_bytes": str(block[case]), "files": "1"}
            rows.append({**row, **more, "seconds": str(coded)})
    return scaling.Measured(rows)


def test_calibration_finds_what_it_was_made_of(scaling: ModuleType) -> None:
    driver = scaling_rows(scaling).driver("process")  # type: ignore[attr-defined]
    assert driver.start == 1
    assert driver.item == pytest.approx(1e-3, rel=0.01)
    assert driver.byte == pytest.approx(1e-9, rel=0.01)


def test_a_prediction_is_not_what_it_was_calibrated_by(scaling: ModuleType) -> None:
    found = list(scaling.compared(scaling_rows(scaling)))
    assert [cell[1:] for cell, _, _ in found] == list(itertools.product(ENGINES, (1, 2)))
    for cell, seconds, expected in found:
        if cell[1:] == ("thread", 1):
            assert expected is None
        else:
            assert expected == pytest.approx(seconds, rel=0.02)


def test_a_driver_that_is_too_slow_is_named(scaling: ModuleType) -> None:
    def cluster(workers: int, byte: float) -> object:
        driver = scaling.Driver(0, 0.0, byte)
        return scaling.Cluster(workers, 1e6, 0.0, 1 << 20, driver, 0.25, math.inf)

    assert cluster(10, 1e-9).bound() == "workers"  # type: ignore[attr-defined]
    slow = cluster(100, 1e-7)  # ten times what it can feed
    assert slow.bound() == "driver"  # type: ignore[attr-defined]
    assert slow.hours(1e9) * 3600 == pytest.approx(100, rel=0.05)  # type: ignore[attr-defined]


def test_rehearsals_do_not_count(scaling: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["case", "quick"], ["a", "0"], ["b", "1"]])
    assert [row["case"] for row in scaling.read(path)] == ["a"]
    assert len(scaling.read(path, rehearsal=True)) == 2
    assert scaling.read(tmp_path / "none.csv") == []


def test_inputs_of_the_cases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("measure_scaling")
    for name in module.TEXT:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode() * 5000)
    for case in module.CASES:
        assert case.block in module.BYTES
        if case.name == "bytes":
            continue
        folders = [tmp_path / f"{case.name}{n}" for n in range(2)]
        needs_more = case.name in ("few", "files", "small", "slowed")
        if needs_more:
            for name in ("json/citm_catalog.json", "csv/birdstrikes.csv"):
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).write_bytes(b"1,2\n" * 9000)
        for folder in folders:
            folder.mkdir()
            case.make(tmp_path, folder, 0.01)
        first, second = ([p.read_bytes() for p in sorted(f.iterdir())] for f in folders)
        assert first == second != []


@pytest.mark.skipif(sys.platform != "linux", reason="rates are bound to a core there")
def test_a_cell_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("measure_rates")
    path = tmp_path / "text"
    path.write_bytes(b"a line of text, and another\n" * 300)
    cell = module.Cell("nncodec:1", "text", 1 << 24, (module.middle(path, 4096),))
    found = module.measure(cell)
    assert 0 < found["archive"] < 4096
    assert all(runs >= 1 and cpu > 0 and wall > 0 for runs, cpu, wall in found["times"])
