"""Archives made with an exact model over tokens: portable, found by id, safe from damage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import BINARY, TEXT
from test_cli import assert_one_error, cli
from test_exact_folder import made, source  # noqa: F401

import nncodec
from nncodec.causal.exact.weights import ExactModel
from nncodec.causal.options import CausalOptions
from nncodec.container import Kind
from nncodec.engine.native import available_isas
from nncodec.errors import CorruptDataError, ModelNotFoundError, NNCodecError
from nncodec.parsing import read_frame


@pytest.fixture(scope="module")
def fitted(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The same folder with a head that knows the helpers' text, so that tokens win a block."""
    from nncodec.causal.exact.blocks import ExactTokens
    from nncodec.causal.exact.native import NativeEngine

    model = ExactModel.load(made)
    ids = ExactTokens(model, NativeEngine(model, 1), made).tokenize(TEXT).ids
    # Nothing but the last token decides: rows of the head are sums of what came before each symbol.
    tensors = {name: value.copy() for name, value in model.tensors.items()}
    for i in range(model.config.n_layers):
        tensors[f"blocks.{i}.out.weight"][:] = 0
        tensors[f"blocks.{i}.down.weight"][:] = 0
    rng = np.random.default_rng(0)
    embed = rng.integers(-127, 128, tensors["embed.weight"].shape, np.int8)
    tensors["embed.weight"], tensors["embed.scale"][:] = embed, 0.01
    head = np.zeros(tensors["head.weight"].shape)
    for before, after in zip([model.config.begin, *ids[:-1]], ids, strict=True):
        head[model.symbol_of[after]] += embed[before].astype(float)
    head = np.clip(head / 3, -127, 127)
    tensors["head.weight"], tensors["head.scale"][:] = head.astype(np.int8), 4e-3
    tensors["head.balance"][:] = 1
    folder = tmp_path_factory.mktemp("home") / "fitted"
    ExactModel(model.config, tensors).save(folder)
    (folder / "tokenizer.json").write_bytes((made / "tokenizer.json").read_bytes())
    return folder


def test_an_archive_is_portable_and_finds_its_model(
    fitted: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = nncodec.compress(TEXT, model=str(fitted), threads=1)
    assert len(archive) < 0.9 * len(nncodec.compress(TEXT, level=1))
    path = tmp_path / "text.nnc"
    path.write_bytes(archive)
    with path.open("rb") as file:
        frame = read_frame(file)
    assert frame is not None
    assert [block.kind for block in frame.blocks] == [Kind.TOKENS]
    assert frame.environment is None
    (row,) = json.loads(cli("info", "--json", path).out)
    assert row["portable"] is True
    assert row["models"] == [ExactModel.load(fitted).model_id.hex()]
    with pytest.raises(ModelNotFoundError, match=row["models"][0]):
        nncodec.decompress(archive, threads=3)
    (home / "fitted").symlink_to(fitted)
    (fitted / "tokenizer.json").rename(fitted / "away")  # decoding needs none
    try:
        assert nncodec.decompress(archive, threads=4) == TEXT
    finally:
        (fitted / "away").rename(fitted / "tokenizer.json")
    for isa in available_isas():
        monkeypatch.setenv("NNCODEC_ISA", isa)
        nncodec.api.load_codec.cache_clear()
        assert nncodec.compress(TEXT, model=str(fitted), threads=2) == archive


@pytest.mark.parametrize("data", [b"", b"x", BINARY, TEXT[:300] + b"\xff\x00\xfe" + TEXT[300:]])
@pytest.mark.parametrize("level", [1, 5, 9])
def test_any_bytes_come_back(fitted: Path, data: bytes, level: int) -> None:
    archive = nncodec.compress(data, level=level, model=str(fitted))
    assert nncodec.decompress(archive, model=str(fitted)) == data


def test_from_the_shell(fitted: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(TEXT)
    assert cli("compress", "-m", fitted, "-k", text).rc == 0
    text.unlink()
    assert cli("test", "-m", fitted, f"{text}.nnc").rc == 0
    assert cli("decompress", "-m", fitted, f"{text}.nnc").rc == 0
    assert text.read_bytes() == TEXT
    assert_one_error(cli("compress", "-f", "-m", fitted, "--device", "cpu", text), text, "is exact")
    with pytest.raises(NNCodecError, match="is exact"):
        nncodec.compress(TEXT, model=str(fitted), options=CausalOptions(verify=False))


def test_damage_is_found(fitted: Path) -> None:
    archive = nncodec.compress(TEXT, model=str(fitted))
    for at in range(40, len(archive), 7):
        broken = bytearray(archive)
        broken[at] ^= 16
        with pytest.raises(CorruptDataError):
            nncodec.decompress(bytes(broken), model=str(fitted))
