"""Models are found by name, path or id, and never believed by their folder's name."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import tiny_float_model

from nncodec import modelstore
from nncodec.config import ModelConfig
from nncodec.engine_weights import WEIGHTS_FILE, EngineModel
from nncodec.errors import InvalidModelError, ModelNotFoundError
from nncodec.lm.export import export


def variant(model: EngineModel, number: int) -> EngineModel:
    """The same model but for one weight, so with another id."""
    head = model.tensors["head.weight"].copy()
    head[0, 0] = number
    return replace(model, tensors={**model.tensors, "head.weight": head})


def install(model: EngineModel, folder: Path) -> Path:
    model.save(folder)
    model.config.save(folder)
    return folder


@pytest.fixture
def package(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the folder that ships with the package, searched before ``home``."""
    path = tmp_path / "package" / "models"
    monkeypatch.setattr("nncodec.modelstore.search_path", lambda: [path, home])
    return path


def test_search_order(home: Path) -> None:
    package = Path(modelstore.__file__).parent
    assert modelstore.search_path() == [package / "models", package.parent / "models", home]


def test_home_folder_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("NNCODEC_HOME", raising=False)
        else:
            monkeypatch.setenv("NNCODEC_HOME", value)
        assert modelstore.search_path()[-1] == Path.home() / ".nncodec" / "models"


def test_find_by_name_and_by_path(home: Path, tiny_model: EngineModel, tmp_path: Path) -> None:
    a = install(variant(tiny_model, 1), home / "a")
    b = install(variant(tiny_model, 2), tmp_path / "elsewhere" / "b")
    ids = [EngineModel.load(folder).model_id for folder in (a, b)]
    assert modelstore.find("a").model_id == modelstore.find(str(a)).model_id == ids[0]
    assert modelstore.find(str(b)).model_id == ids[1]
    with pytest.raises(ModelNotFoundError):
        modelstore.find("b")


def test_unknown_names_list_what_there_is(home: Path, tiny_model: EngineModel) -> None:
    install(tiny_model, home / "here")
    for name in ("there", "", "no/such/folder", str(home), "here\0"):
        with pytest.raises(ModelNotFoundError, match="here"):
            modelstore.find(name)


def test_no_models_at_all(package: Path, home: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="none"):
        modelstore.find("nano")
    with pytest.raises(ModelNotFoundError, match="00" * 16) as caught:
        modelstore.find_by_id(bytes(16))
    assert str(home) in str(caught.value)
    assert f"nncodec models pull REPO --id {'00' * 16}" in str(caught.value)
    shutil.rmtree(home)
    assert list(modelstore.installed()) == []


def test_the_largest_is_the_one_with_the_most_weights(
    package: Path, home: Path, tiny_model: EngineModel
) -> None:
    """Wherever it is and whatever it is called."""
    with pytest.raises(ModelNotFoundError, match="none"):
        modelstore.find_largest()
    small = EngineModel.load(install(tiny_model, package / "small"))
    assert modelstore.find_largest().model_id == small.model_id
    wider = ModelConfig(d_model=48, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=96, windows=(4, 16))
    large = export(tiny_float_model(1, wider), np.zeros((1, 4), np.int64))
    install(large, home / "a")
    install(variant(tiny_model, 3), home / "z")
    assert modelstore.find_largest().model_id == large.model_id


def test_the_packages_own_model_comes_first(
    package: Path, home: Path, tiny_model: EngineModel
) -> None:
    install(variant(tiny_model, 1), home / "same")
    shipped = EngineModel.load(install(variant(tiny_model, 2), package / "same"))
    assert modelstore.find("same").model_id == shipped.model_id
    # By id the one behind it is still found: an archive names contents, not names.
    hidden = EngineModel.load(home / "same").model_id
    assert modelstore.find_by_id(hidden).model_id == hidden


def test_find_by_id(home: Path, tiny_model: EngineModel) -> None:
    models = [variant(tiny_model, n) for n in (1, 2, 3)]
    for n, model in enumerate(models):
        install(model, home / f"m{n}")
    for model in models:
        assert modelstore.find_by_id(model.model_id).model_id == model.model_id


@pytest.mark.parametrize("damage", ["nothing", "zeros", "bf16", "nested config"])
def test_a_broken_folder_does_not_hide_others(
    home: Path, tiny_model: EngineModel, damage: str
) -> None:
    broken = install(variant(tiny_model, 1), home / "a-broken")
    install(tiny_model, home / "b-good")
    if damage == "nothing":
        (broken / WEIGHTS_FILE).write_bytes(b"")
    elif damage == "zeros":
        (broken / WEIGHTS_FILE).write_bytes(bytes(1000))
    elif damage == "bf16":
        header = b'{"head.scale":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
        length = len(header).to_bytes(8, "little")
        (broken / WEIGHTS_FILE).write_bytes(length + header + bytes(2))
    else:
        (broken / "config.json").write_text("[" * 100_000)
    assert modelstore.find_by_id(tiny_model.model_id).model_id == tiny_model.model_id
    assert modelstore.find("b-good").model_id == tiny_model.model_id
    with pytest.raises(InvalidModelError, match="a-broken"):
        modelstore.find("a-broken")


def test_contents_decide_not_the_claimed_id(home: Path, tiny_model: EngineModel) -> None:
    """A file that was edited after it was saved still claims its old id."""
    folder = install(tiny_model, home / "edited")
    raw = bytearray((folder / WEIGHTS_FILE).read_bytes())
    assert tiny_model.model_id.hex().encode() in raw
    raw[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(raw)
    with pytest.raises(ModelNotFoundError):
        modelstore.find_by_id(tiny_model.model_id)


def test_what_is_no_model_is_passed_over(home: Path, tiny_model: EngineModel) -> None:
    (home / "file").write_text("x")
    (home / "empty").mkdir()
    install(tiny_model, home / "good")
    (home / "link").symlink_to(home / "good", target_is_directory=True)
    names = [model.name for model in modelstore.installed() if model.folder.parent == home]
    assert names == ["good"]
    assert np.array_equal(
        modelstore.find("good").tensors["head.weight"], tiny_model.tensors["head.weight"]
    )
