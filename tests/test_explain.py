"""``nncodec explain``: every bit of the archive is accounted for, whatever a block became."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from delta_files import tuned
from helpers import JSON, TEXT, run_python
from safetensors.numpy import save
from tensor_values import normal
from test_cli import assert_one_error, cli, names
from test_transforms import ELF

import nncodec
from nncodec import api
from nncodec.blocks import Geometry, lane_geometry
from nncodec.codec import Codec
from nncodec.engine.native import NativeContexts, NativeEngine
from nncodec.engine_weights import EngineModel
from nncodec.errors import NNCodecError
from nncodec.explain import Detail, Explanation, explain, tracing
from nncodec.explain.explanation import Region
from nncodec.explain.summary import curve, stretches
from nncodec.explain.terminal import sums
from nncodec.lanes import no_progress
from nncodec.tensors.base import Base

ENDING = 64  # bits that the end of a payload may differ from the sum of its costs
NOISE = bytes(np.random.default_rng(0).integers(0, 256, 20_000, dtype=np.uint8))
DATA = TEXT * 2 + JSON


@pytest.fixture
def native(tiny_model: EngineModel) -> NativeEngine:
    return NativeEngine(tiny_model, threads=2)


@pytest.fixture
def codec(native: NativeEngine, tiny_model: EngineModel) -> Codec:
    """Blocks of several lanes, however short."""
    return Codec(native, tiny_model.model_id, 4, 16, NativeContexts(), lane_bytes=300)


def explained(data: bytes, codec: Codec, begin: int = 0, end: int | None = None) -> Explanation:
    return explain(io.BytesIO(data), codec, begin, end)


def assert_adds_up(shown: Explanation, archive: bytes) -> None:
    """The regions cover the file, and the bits of each are its payload's."""
    assert shown.archive_bytes == len(archive)
    assert [r.begin for r in shown.regions] == [0, *[r.end for r in shown.regions]][:-1]
    assert sum(r.size for r in shown.regions) == shown.size == len(shown.data)
    for r in shown.regions:
        bits = shown.bits[r.begin : r.end].sum(dtype=np.float64)
        assert abs(bits - 8 * r.payload_bytes) < ENDING


def test_mixed_block(codec: Codec, native: NativeEngine) -> None:
    shown, data = explained(DATA, codec), np.frombuffer(DATA, np.uint8)
    assert_adds_up(shown, codec.compress(data))
    (region,) = shown.regions
    geometry = lane_geometry(len(data), 4, 16, 300)
    assert (region.kind, region.lanes, geometry.lanes) == ("mixed", 4, 4)
    network = native.encode(data, replace(geometry, table_bits=0), no_progress)
    alone = Geometry(1, 0, geometry.table_bits)
    contexts = NativeContexts().encode(data, alone, no_progress)
    assert abs(shown.network.sum(dtype=np.float64) - 8 * len(network)) < ENDING
    assert abs(shown.contexts.sum(dtype=np.float64) - 8 * len(contexts)) < ENDING
    compared = shown.totals()["compared"]
    assert compared["bytes"] == len(DATA)
    assert compared["network_bits"] == pytest.approx(shown.network.sum(dtype=np.float64))
    assert compared["contexts_bits"] == pytest.approx(shown.contexts.sum(dtype=np.float64))
    assert compared["both_bits"] == 8 * region.payload_bytes
    assert (shown.detail == Detail.BYTE).all()
    likely = np.flatnonzero((shown.rank >= 0) & (shown.rank < 5))
    assert len(likely) > len(DATA) / 2
    np.testing.assert_array_equal(shown.top[likely, shown.rank[likely]], data[likely])
    matched = shown.match_length > 20
    assert (shown.expected[matched] == data[matched]).mean() > 0.9


def test_ranges_are_parts_of_the_whole(codec: Codec) -> None:
    whole, part = explained(DATA, codec), explained(DATA, codec, 100, 400)
    assert (part.begin, part.end) == (100, 400)
    assert part.regions == whole.regions
    for name in ("data", "bits", "network", "contexts", "top", "rank", "expected", "detail"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[100:400], name)
    assert explained(DATA, codec, 100, 10**9).end == len(DATA)
    assert len(explained(DATA, codec, len(DATA)).data) == 0
    with pytest.raises(
        NNCodecError, match=r"no bytes 9999 to .* in a file of .*; give another range"
    ):
        explained(DATA, codec, 9999)


@pytest.mark.parametrize("data", [b"", b"x", b"xy", b"aaaa" * 500, NOISE], ids=len)
def test_blocks_without_a_trace(codec: Codec, data: bytes) -> None:
    shown = explained(data, codec)
    assert_adds_up(shown, codec.compress(np.frombuffer(data, np.uint8)))
    assert {r.kind for r in shown.regions} <= {"stored", "constant"}
    assert (shown.detail == Detail.BLOCK).all()
    assert np.isnan(shown.network).all()
    assert (shown.rank == -1).all()
    assert shown.totals()["compared"]["bytes"] == 0
    assert stretches(shown) == ([], [])
    assert len(curve(shown)["begin"]) == min(len(data), 1000)


def test_context_models_alone() -> None:
    codec = api.load_codec(1)
    shown = explained(DATA, codec)
    assert_adds_up(shown, nncodec.compress(DATA, 1))
    assert np.isnan(shown.network).all()
    np.testing.assert_array_equal(shown.contexts, shown.bits)
    assert (shown.rank == -1).all()
    assert (shown.expected >= 0).any()


def test_escapes_share_their_character(codec: Codec) -> None:
    text = "Übermäßig 😀 groß, naïve façade — ключ 鍵. " * 40
    data = json.dumps(text).encode()
    shown = explained(data, codec)
    assert_adds_up(shown, codec.compress(np.frombuffer(data, np.uint8)))
    (region,) = shown.regions
    assert region.kind.endswith("+escapes_lower")
    at = data.index(b"\\u00dc")
    assert (shown.detail[at : at + 6] == Detail.SHARED).all()
    assert len(set(shown.bits[at : at + 6])) == 1
    astral = data.index(b"\\ud83d")
    assert len(set(shown.bits[astral : astral + 12])) == 1
    assert shown.detail[at + 6] == Detail.BYTE
    assert (shown.rank[shown.detail == Detail.SHARED] == -1).all()


def test_rewritten_code() -> None:
    codec, data = api.load_codec(1), ELF.read_bytes()[:200_000]
    shown = explained(data, codec)
    assert_adds_up(shown, nncodec.compress(data, 1))
    assert any(r.kind == "contexts+x86" for r in shown.regions)
    rewritten = shown.detail == Detail.REWRITTEN
    assert rewritten.any()
    assert (shown.expected[rewritten] == -1).all()


def tensor_file(by: float = 0.0) -> bytes:
    return save({"w": tuned(normal(64, 48), by) if by else normal(64, 48)}, {"about": "x" * 300})


@pytest.mark.parametrize("level", [1, 6])
def test_tensors(tmp_path: Path, level: int) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(tensor_file())
    with path.open("rb") as file:
        shown = explain(file, api.load_codec(level, "tiny" if level > 1 else None))
    assert_adds_up(
        shown, nncodec.compress(tensor_file(), level, model="tiny" if level > 1 else None)
    )
    kinds = {r.kind: r.tensors for r in shown.regions}
    assert kinds["fields" if level == 1 else "tensors"] == ("F32 64x48",)


def test_deltas(tmp_path: Path) -> None:
    old, new = tensor_file(), tensor_file(0.001)
    path = tmp_path / "tuned.safetensors"
    path.write_bytes(new)
    with path.open("rb") as file:
        base = Base(np.frombuffer(old, np.uint8))
        shown = explain(file, api.load_codec(1), base=base)
    assert_adds_up(shown, nncodec.compress(new, 1, base=old))
    assert "delta" in {r.kind for r in shown.regions}


def test_too_much(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "MOST_TRACED", 500)
    with pytest.raises(NNCodecError, match=r"500 at most; explain a part of it \(head -c 250\)"):
        explained(DATA, codec)


def test_stretches(codec: Codec) -> None:
    data = TEXT + bytes(np.random.default_rng(1).integers(33, 127, 200, dtype=np.uint8)) + TEXT * 3
    shown = explained(data, codec)
    least, most = stretches(shown)
    assert len(TEXT) - 64 < least[0].begin < len(TEXT) + 200
    assert most[0].begin > len(TEXT) + 200
    assert least[0].bits_per_byte > 4 > 1 > most[0].bits_per_byte
    for found in (least, most):
        spans = sorted((s.begin, s.end) for s in found)
        assert all(a[1] <= b[0] for a, b in pairwise(spans))


# The command


def ask(*args: str | Path, stdin: bytes = b"") -> dict[str, object]:
    result = cli("explain", "-m", "tiny", "-l", "2", "-q", "--json", *args, stdin=stdin)
    assert (result.rc, result.err) == (0, "")
    answer: dict[str, object] = json.loads(result.out)
    return answer


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    answer = ask(path, "--range", "10:30")
    assert answer["schema"] == 1
    assert answer["range"] == [10, 30]
    assert answer["bytes"]["value"] == list(TEXT[10:30])  # type: ignore[index]
    lengths = {name: len(column) for name, column in answer["bytes"].items()}  # type: ignore[attr-defined]
    assert lengths == dict.fromkeys(
        [
            *("value", "detail", "bits", "network_bits", "contexts_bits", "candidates"),
            *("candidates_p65536", "rank", "expected", "match_length"),
        ],
        20,
    )
    assert answer["totals"]["archive_bytes"] == len(  # type: ignore[index]
        nncodec.compress(TEXT, 2, model="tiny")
    )
    assert ask("-", stdin=TEXT)["file"] == "(standard input)"
    assert ask("-", stdin=NOISE)["bytes"]["network_bits"] == [None] * len(NOISE)  # type: ignore[index]


def test_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text"
    path.write_bytes(TEXT + b"\x1b[31mred \xff\xc3\xa9\r\x07\n" + "\u202ebidi\n".encode() + TEXT)
    result = cli("explain", "-m", "tiny", "-l", "2", path)
    assert result.rc == 0
    shown = result.out.decode()
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert "network alone" in shown
    assert "·[31mred \ufffdé··⏎" in shown
    assert "·bidi⏎" in shown
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in cli("explain", "-m", "tiny", "-l", "2", path).out.decode()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "48;" not in cli("explain", "-m", "tiny", "-l", "2", path).out.decode()


def test_terminal_shows_a_bounded_part(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(NOISE)
    lines = cli("explain", "-m", "tiny", "-l", "2", path).out.decode().splitlines()
    assert sum(line.startswith(" 8.000 ") for line in lines) == 2000 // 16
    path.write_bytes(b"")
    assert "0 bytes" in cli("explain", "-m", "tiny", "-l", "2", path).out.decode()


@pytest.mark.parametrize("span", ["5", "9:3", "-1:4", "a:b", "1:2:3"])
def test_ranges_that_are_none(tmp_path: Path, span: str) -> None:
    assert cli("explain", "-m", "tiny", f"--range={span}", tmp_path / "absent").rc == 2


def test_quiet_has_no_summary(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    tiny = ("explain", "-m", "tiny", "-l", "2", path)
    whole, quiet = (cli(*tiny, *more).out.decode() for more in ((), ("-q",)))
    assert "network alone" in whole
    assert quiet == whole[whole.index("Bytes 0 to ") :]


def test_the_terminal_rounds_up_as_the_page_does(codec: Codec) -> None:
    region = Region(0, 100, "mixed", 90, 2, network_bits=640.5, contexts_bits=648.0)
    shown = replace(explained(TEXT[:100], codec), regions=(region,))
    said = "\n".join(sums(shown, {"file": "a", "level": 2, "model": "tiny"}))
    for name, whole in (("network alone", 81), ("context models alone", 81), ("both", 90)):
        assert re.search(rf"{name}.* {whole} bytes", said), said


@pytest.mark.parametrize("page", ["-", ""])
def test_pages_need_a_name(tmp_path: Path, page: str) -> None:
    result = cli("explain", "-m", "tiny", "--html", page, tmp_path / "absent")
    assert result.rc == 2
    assert "--html takes the name of a file" in " ".join(result.err.split())


def test_errors(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    tiny = ("explain", "-m", "tiny", "-l", "2")
    assert_one_error(cli(*tiny, tmp_path / "absent"), tmp_path / "absent", "no such file")
    assert_one_error(cli(*tiny, path, "--range", "9999:"), path, "no bytes 9999")
    assert_one_error(cli(*tiny, path, "--html", path), path, "write the page elsewhere")
    assert_one_error(cli(*tiny, path, "--html", tmp_path), path, "it is a folder")
    page = tmp_path / "none" / "page.html"
    assert_one_error(cli(*tiny, path, "--html", page), path, "there is no folder")
    assert path.read_bytes() == TEXT
    assert names(tmp_path) == ["text"]


def test_neither_torch_nor_matplotlib_is_imported(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT)
    code = (
        "import sys; from nncodec.cli.app import app;"
        "app(['explain', '-m', 'tiny', '-l', '2', 'text'], standalone_mode=False);"
        "print([m for m in ('torch', 'transformers', 'matplotlib') if m in sys.modules])"
    )
    result = run_python(code, cwd=tmp_path)
    assert result.stdout.splitlines()[-1] == b"[]", result.stderr
