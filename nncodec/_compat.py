"""Neighbours: the other ``nncodec`` on PyPI, and transformers' model registry."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

TRANSFORMERS_AUTO = "transformers.models.auto.modeling_auto"


def reject_namesake() -> None:
    """Fail clearly if Fraunhofer's MPEG-NNC software, which has our import name, is installed."""
    # By the folders' names: importlib.metadata would say the same and costs 15 ms to import.
    folders = (f for entry in sys.path for f in Path(entry or ".").glob("nncodec-*.dist-info"))
    other = next(folders, None)
    if other is None:
        return
    version = other.stem.removeprefix("nncodec-")
    why = (
        f"the distribution 'nncodec' {version} (Fraunhofer's MPEG-NNC software) is installed "
        "and has the same import name as 'nncodec-lm'; run 'pip uninstall nncodec nncodec-lm' and "
        "then 'pip install nncodec-lm', or keep the two in separate environments"
    )
    if Path(sys.argv[0]).stem == "nncodec":  # the command: its users want a line, no traceback
        sys.exit(f"nncodec: {why}")
    raise ImportError(why)


def _register() -> None:
    with contextlib.suppress(ImportError):  # without torch there is nothing to register
        importlib.import_module("nncodec.lm.hf")


class _AfterImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Runs our registration right after transformers' registry of models is first imported.

    ``import nncodec`` must stay free of torch, and transformers may be imported before or after
    it; so the registration waits for the one module it needs.
    """

    def __init__(self) -> None:
        self.inner: importlib.abc.Loader | None = None

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != TRANSFORMERS_AUTO:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            self.inner, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.inner.create_module(spec) if self.inner else None

    def exec_module(self, module: ModuleType) -> None:
        if self.inner:
            self.inner.exec_module(module)
        _register()


def register_with_transformers() -> None:
    """Make ``AutoModelForCausalLM`` know our models, now or as soon as it is imported."""
    if TRANSFORMERS_AUTO in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _AfterImport())
