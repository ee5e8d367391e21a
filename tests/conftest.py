"""Hypothesis profiles, a small model installed as ``tiny``, and skips for what is absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import fit_tiny_model, tiny_float_model
from hypothesis import settings

from nncodec.engine.reference import ReferenceEngine
from nncodec.engine_weights import EngineModel
from nncodec.lm.export import export
from nncodec.lm.model import ByteTransformer

# By HYPOTHESIS_PROFILE: default for every run, ci for every push, thorough for an hour at night.
# No deadline: a loaded machine must not fail a test.
settings.register_profile("default", max_examples=15, deadline=None)
settings.register_profile("ci", max_examples=60, deadline=None, print_blob=True)
settings.register_profile("thorough", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say why a marked test is skipped instead of failing in its fixture."""
    needs = {
        "gpu": (torch.cuda.is_available(), "no CUDA device"),
        "corpora": (corpora_folder().is_dir(), "set NNCODEC_CORPORA to the unpacked corpora"),
        "weights": (weights_folder().is_dir(), "set NNCODEC_WEIGHTS to the sample weights"),
    }
    for item in items:
        for name, (there, why) in needs.items():
            if item.get_closest_marker(name) and not there:
                item.add_marker(pytest.mark.skip(reason=why))


def corpora_folder() -> Path:
    return Path(os.environ.get("NNCODEC_CORPORA", "absent")) / "test"


def weights_folder() -> Path:
    return Path(os.environ.get("NNCODEC_WEIGHTS", "absent"))


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The unpacked test corpora; for tests marked ``corpora``."""
    return corpora_folder()


@pytest.fixture(scope="session")
def weights() -> Path:
    """The sample weights; for tests marked ``weights``."""
    return weights_folder()


@pytest.fixture(scope="session")
def float_model() -> ByteTransformer:
    """A small float model with nothing left at zero, whose head knows the helpers' text."""
    return fit_tiny_model(tiny_float_model(seed=7))


@pytest.fixture(scope="session")
def tiny_model(float_model: ByteTransformer) -> EngineModel:
    tokens = torch.randint(0, 256, (4, 64), generator=torch.Generator().manual_seed(1))
    return export(float_model, tokens.numpy())


@pytest.fixture(scope="session")
def engine(tiny_model: EngineModel) -> ReferenceEngine:
    return ReferenceEngine(tiny_model)


@pytest.fixture(scope="session", autouse=True)
def model_home(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: EngineModel, float_model: ByteTransformer
) -> Iterator[Path]:
    """``$NNCODEC_HOME`` with ``tiny`` in it, for the API, the CLI and subprocesses."""
    home = tmp_path_factory.mktemp("models")
    tiny_model.save(home / "tiny")
    float_model.save_pretrained(home / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNCODEC_HOME", str(home))
        patch.delenv("NNCODEC_MODEL", raising=False)
        patch.delenv("NNCODEC_THREADS", raising=False)
        patch.setenv("OMP_NUM_THREADS", "1")  # of subprocesses
        yield home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``$NNCODEC_HOME``."""
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("NNCODEC_HOME", str(path))
    return path
