"""nncodec itself as a codec of the benchmark: through ``load_codec``, as its users have it.

The model is loaded before the clock starts; its memory counts.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nncodec
from nncodec import api, modelstore
from nncodec.bench.codecs import AbsentError, Probe
from nncodec.bench.worker import InMemory
from nncodec.causal.exact.config import is_exact
from nncodec.causal.exact.weights import ExactModel
from nncodec.decoding import decompress_stream
from nncodec.engine.native import usable_cores
from nncodec.engine_weights import WEIGHTS_FILE, EngineModel
from nncodec.errors import BenchError, MissingPackageError, ModelNotFoundError
from nncodec.lanes import Coder
from nncodec.levels import DEFAULT_LEVEL, LEVELS

if TYPE_CHECKING:
    from nncodec.bench.worker import Job


@dataclass(frozen=True)
class OwnCodec:
    model: str | None
    level: int
    spec: str
    used_threads: int | None  # None: all cores
    archives: bool = field(default=True)

    @property
    def threads(self) -> str:
        return str(self.used_threads or usable_cores())

    def probe(self) -> Probe:
        if LEVELS[self.level].model is None:
            return Probe(nncodec.__version__)
        try:
            model_id, size = find_model(self.model or LEVELS[self.level].model or "")
        except (ModelNotFoundError, MissingPackageError) as error:
            raise AbsentError(str(error)) from error
        return Probe(nncodec.__version__, model_id.hex(), size)

    def job(self, direction: str) -> Mapping[str, Any]:
        model = self.model
        if model and Path(model).is_dir():
            model = str(Path(model).absolute())  # the worker runs elsewhere
        plan = {"level": self.level, "model": model, "threads": self.used_threads}
        return {"module": "nncodec.bench.own", "lean": False, **plan}


def find_model(name: str) -> tuple[bytes, int]:
    """Id and bytes of the weights of the model that ``load_codec`` takes for a name."""
    if name == "largest":
        sizes = [(there.folder / WEIGHTS_FILE).stat().st_size for there in modelstore.installed()]
        return modelstore.find_largest().model_id, max(sizes)
    if name != "default" and (causal := api.causal_folder(name)):
        return causal.model_id, sum(path.stat().st_size for path in causal.files)
    folder = modelstore.locate(modelstore.DEFAULT_MODEL if name == "default" else name)
    weights = ExactModel.load(folder) if is_exact(folder) else EngineModel.load(folder)
    return weights.model_id, (folder / WEIGHTS_FILE).stat().st_size


def parse_own(options: str, threads: int | None) -> OwnCodec:
    """``[MODEL][:level=N][:threads=N]``, in any order. Raises BenchError."""
    model, chosen = None, {"level": DEFAULT_LEVEL, "threads": 0}
    names: list[str] = []
    for word in options.split(":") if options else ():
        found = re.fullmatch(r"(level|threads)=([0-9]{1,4})", word)
        if found:
            chosen[found[1]] = int(found[2])
        else:
            names.append(word)
    if names:
        model = ":".join(names)
    level, own_threads = chosen["level"], chosen["threads"]
    if level not in LEVELS:
        raise BenchError(
            f"nncodec:{options}: levels are {min(LEVELS)} to {max(LEVELS)}, as in nncodec:level=9"
        )
    if model == "" or (model and model.partition("=")[0] in chosen):
        raise BenchError(f"nncodec:{options}: write nncodec:MODEL:level=N:threads=N, or less of it")
    if model and LEVELS[level].model is None:
        raise BenchError(f"nncodec:{options}: level {level} has no model; leave one of them out")
    parts = [
        "nncodec",
        *([model] if model else []),
        *([f"level={level}"] if level != DEFAULT_LEVEL else []),
        *([f"threads={own_threads}"] if own_threads else []),
    ]
    return OwnCodec(model, level, ":".join(parts), own_threads or threads)


def open_run(job: Job) -> InMemory:
    """In the child process."""
    codec = api.load_codec(job["level"], job["model"], job["threads"])
    threads = job["threads"] or usable_cores()

    def compress(data: bytes) -> bytes:
        return codec.compress(np.frombuffer(data, dtype=np.uint8))

    def find(model_id: bytes | None) -> Coder:
        if model_id == codec.model_id:
            return codec.coder
        return (codec.contexts if model_id is None else None) or api.load_coder(model_id, threads)

    def decompress(data: bytes) -> bytes:
        back = io.BytesIO()
        decompress_stream(io.BytesIO(data), back, find, threads=threads)
        return back.getvalue()

    ways: dict[str, Callable[[bytes], bytes]] = {"compress": compress, "decompress": decompress}
    return InMemory(ways[job["direction"]], job)
