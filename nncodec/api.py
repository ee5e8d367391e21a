"""The Python API: one line over the codec, for data that fits in memory."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from nncodec import modelstore
from nncodec._core import ByteStore
from nncodec.causal.environment import Environment
from nncodec.causal.exact import native as exact_native
from nncodec.causal.exact.blocks import ExactTokens
from nncodec.causal.exact.config import is_exact
from nncodec.causal.exact.weights import ExactModel
from nncodec.causal.options import DEFAULT, CausalOptions
from nncodec.codec import Codec
from nncodec.container import VERSION
from nncodec.decoding import FindCoder, decompress_stream
from nncodec.engine.native import NativeContexts, NativeEngine, usable_cores
from nncodec.engine_weights import EngineModel
from nncodec.errors import ModelNotFoundError, NNCodecError, WorkerError
from nncodec.lanes import Coder
from nncodec.levels import DEFAULT_LEVEL, LEVELS, check_level
from nncodec.limits import Limits
from nncodec.memory import View
from nncodec.numerics import NUMERIC_VERSION
from nncodec.parallel import Workers
from nncodec.parsing import FrameReader, skipping_payloads
from nncodec.recipes import Recipe
from nncodec.tensors.base import Base

if TYPE_CHECKING:
    from nncodec.causal.folder import CausalFolder

Buffer = bytes | bytearray | memoryview


def print_nothing(_text: str) -> None:
    """The default: long runs are not announced."""


@lru_cache(maxsize=4)
def load_codec(
    level: int = DEFAULT_LEVEL,
    model: str | None = None,
    threads: int | None = None,
    options: CausalOptions = DEFAULT,
    notify: Callable[[str], object] = print_nothing,
) -> Codec:
    """The codec of a level, with its own model or the one of a name or folder; loaded once.

    ``options`` are for somebody else's causal language model, which ``notify`` hears of when it
    will take long. Raises NNCodecError for a level that does not exist, ModelNotFoundError,
    InvalidModelError.
    """
    codec = make_codec(level, model, threads, options, notify)
    # Floats depend on the number of threads, so there workers have as many; else one each.
    alone = codec.threads if codec.environment else 1
    expected = codec.model_id, codec.environment
    arguments = expected, level, anywhere(model), alone, options
    floats = Environment.parse(codec.environment) if codec.environment else None
    codec.recipe = Recipe(same_codec, arguments, gpus=int(bool(floats and floats.device == "cuda")))
    return codec


def same_codec(
    expected: tuple[bytes | None, bytes | None],
    level: int,
    model: str | None,
    threads: int,
    options: CausalOptions,
) -> Codec:
    """A worker's own codec. Raises WorkerError if its archives would not be the same."""
    codec = make_codec(level, model, threads, options)
    if (codec.model_id, codec.environment) != expected:
        raise WorkerError(
            f"a worker found another model, or other float arithmetic, for {model or level}: "
            "install the same nncodec and models on every machine"
        )
    return codec


def anywhere(model: str | None) -> str | None:
    """A model's name, or its folder as it is called from other folders."""
    return str(Path(model).resolve()) if model and Path(model).is_dir() else model


def make_codec(
    level: int,
    model: str | None,
    threads: int | None,
    options: CausalOptions,
    notify: Callable[[str], object] = print_nothing,
) -> Codec:
    check_level(level)
    if model is not None and (folder := causal_folder(model, download=True)):
        return causal_codec(folder, level, threads, options, notify)
    if model is not None and (exact := exact_folder(model)):
        return exact_codec(exact, level, threads, options)
    if options != DEFAULT:
        raise NNCodecError(
            "dtype, device, lanes, context and verify are for a causal language model of somebody "
            "else's: give its folder with -m"
        )
    plan = LEVELS[level]
    name = model or plan.model
    if name is None:
        alone = NativeContexts()
        cores = threads or usable_cores()
        return Codec(alone, None, 1, plan.table_bits, threads=cores, tensors=plan.tensors)
    if name == "largest" and not model:
        weights = modelstore.find_largest()
    else:
        weights = modelstore.find(modelstore.DEFAULT_MODEL if name == "default" else name)
    if plan.model is None:  # a model for level 1, which has none: the fastest level with one
        plan = LEVELS[level + 1]
    engine = NativeEngine(weights, threads)
    contexts = NativeContexts()
    bounds = (plan.lanes, plan.table_bits, contexts, plan.lane_bytes)
    cores = threads or usable_cores()
    return Codec(engine, weights.model_id, *bounds, threads=cores, tensors=plan.tensors)


def exact_folder(name: str) -> Path | None:
    """The folder of an exact model over tokens, if a name means one."""
    try:
        folder = modelstore.locate(name)
    except ModelNotFoundError:
        return None
    return folder if is_exact(folder) else None


def exact_codec(folder: Path, level: int, threads: int | None, options: CausalOptions) -> Codec:
    from nncodec.causal.exact.codec import ExactCodec

    if replace(options, lanes=None) != DEFAULT:
        raise NNCodecError(
            f"{folder} is exact: it has no dtype, device or context to choose, and needs no check"
        )
    return ExactCodec(ExactModel.load(folder), folder, level, threads, options.lanes)


def causal_folder(name: str, download: bool = False) -> CausalFolder | None:
    """A causal language model that is not ours, if a name means one."""
    if any(installed.name == name for installed in modelstore.installed()):
        return None
    from nncodec.causal.find import find_folder

    return find_folder(name, download)


def causal_codec(
    folder: CausalFolder,
    level: int,
    threads: int | None,
    options: CausalOptions,
    notify: Callable[[str], object],
) -> Codec:
    from nncodec.causal.codec import CausalCodec, load_model
    from nncodec.causal.predictor import Settings

    settings = Settings(options.dtype, options.device, threads, options.context)
    loaded = load_model(folder, settings)
    return CausalCodec(loaded, level, options.verify, options.lanes, notify)


@lru_cache(maxsize=4)
def load_coder(
    model_id: bytes | None,
    threads: int | None = None,
    model: str | None = None,
    options: CausalOptions = DEFAULT,
) -> Coder:
    """The engine that an archive names, or the context models if none; loaded once a process.

    It is looked for among what is installed, and before that in ``model``, a name or a folder.
    """
    return make_coder(model_id, threads, model, options)


def make_coder(
    model_id: bytes | None,
    threads: int | None,
    model: str | None,
    options: CausalOptions,
    alone: bool = False,
) -> Coder:
    """The same, and if ``alone`` one of its own, with one thread: but floats depend on those."""
    cores = 1 if alone else threads
    if model_id is None:
        return NativeContexts()
    folder = causal_folder(model) if model is not None else None
    given = folder.model_id if folder else None
    if folder is None and model is not None:
        make = make_codec if alone else load_codec
        own = make(DEFAULT_LEVEL, model, cores, DEFAULT)
        if own.model_id == model_id:
            return own.coder
        given = own.model_id
    if folder is None or folder.model_id != model_id:
        try:
            found = modelstore.find_by_id(model_id)
            if isinstance(found, EngineModel):
                return NativeEngine(found, cores)
            return ExactTokens(found, exact_native.NativeEngine(found, cores))
        except ModelNotFoundError as error:
            from nncodec.causal.find import find_by_id

            folder = find_by_id(model_id)
            if folder is None and given:
                raise ModelNotFoundError(f"{model} is model {given.hex()}; {error}") from error
            if folder is None:
                raise
    from nncodec.causal.codec import FloatModel

    return FloatModel(folder, threads, options.any_environment)


@dataclass(frozen=True)
class CoderFinder:
    """``load_coder`` for any model id, with the rest given: what decoders ask."""

    model: str | None = None
    threads: int | None = None
    options: CausalOptions = DEFAULT

    def __call__(self, model_id: bytes | None) -> Coder:
        return load_coder(model_id, self.threads, self.model, self.options)

    @property
    def recipe(self) -> Recipe[FindCoder]:
        """For workers: engines of one thread each, but that floats depend on the number."""
        return Recipe(own_coders, (anywhere(self.model), self.options, self.threads))


def own_coders(model: str | None, options: CausalOptions, threads: int | None) -> FindCoder:
    """A worker's own engines."""
    return lru_cache(maxsize=2)(
        lambda model_id: make_coder(model_id, threads, model, options, alone=True)
    )


def _forget_engines() -> None:
    """In a forked child: another thread may have been using an engine at the fork."""
    load_codec.cache_clear()
    load_coder.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_engines)


def compress(
    data: Buffer,
    level: int = DEFAULT_LEVEL,
    *,
    model: str | None = None,
    threads: int | None = None,
    base: Buffer | None = None,
    block_size: int | None = None,
    options: CausalOptions = DEFAULT,
    workers: Workers | None = None,
) -> bytes:
    """Compress any buffer of bytes.

    ``level`` is 1 (fastest: context models alone) to 9 (smallest); ``model``, a name or a folder's
    path, takes the place of the level's own. The result never depends on ``threads`` (but for the
    float models of others, below). ``base`` is a file of tensors whose numbers are near those of
    ``data``, such as the model that was fine-tuned; decompression then needs it, too
    (docs/weights-delta.md). Blocks hold ``block_size`` bytes, 1 KiB to 16 MiB (the default):
    smaller ones for finer random access, at a cost (docs/streams.md). A ``model`` may be the folder
    of any causal language model, which ``options`` are for (docs/causal-lm.md): its archives decode
    where they were made. ``workers`` of ``nncodec.open_workers`` code the blocks, to the same
    bytes (docs/distributed.md). Raises NNCodecError for an unknown level or block size,
    ModelNotFoundError, InvalidModelError, WorkerError.
    """
    check_workers(workers)
    array = np.frombuffer(memoryview(data).cast("B"), dtype=np.uint8)
    codec = load_codec(level, model, threads, options).with_block_size(block_size)
    return codec.with_workers(workers).compress(array, base=base_of(base))


def check_workers(workers: Workers | None) -> None:
    """Raises TypeError, as for any argument of another kind."""
    if workers is not None and not isinstance(workers, Workers):
        raise TypeError(f"workers are what nncodec.open_workers gives, not {workers!r}")


def base_of(data: Buffer | None) -> Base | None:
    if data is None:
        return None
    return Base(np.frombuffer(memoryview(data).cast("B"), dtype=np.uint8))


def decompress(
    data: Buffer,
    *,
    max_output_size: int | None = None,
    max_memory: int | None = None,
    threads: int | None = None,
    base: Buffer | None = None,
    model: str | None = None,
    options: CausalOptions = DEFAULT,
    workers: Workers | None = None,
) -> bytes:
    """The bytes that ``compress`` was given; concatenated archives give concatenated bytes.

    ``max_output_size`` refuses archives that promise more, and ``max_memory`` those with a block
    that takes more to decode, both in bytes and before anything is decoded. ``base`` is what
    ``compress`` was given as such. ``model`` is where to look for the model besides what is
    installed. Raises CorruptDataError, TruncatedError, UnsupportedVersionError,
    ModelNotFoundError, EnvironmentMismatchError, BaseFileError for a base that is missing or
    another one, and LimitError.
    """
    check_workers(workers)
    archive = memoryview(data).cast("B")
    sink = ByteStore(2 * len(archive))
    decompress_stream(
        View(archive),
        sink,
        CoderFinder(model, threads, options),
        limits=Limits(max_output_size, max_memory),
        threads=threads or usable_cores(),
        base=base_of(base),
        workers=workers,
    )
    return sink.take()


@dataclass(frozen=True)
class ArchiveInfo:
    """What an archive says of itself, without decoding it. Sizes in bytes."""

    format_version: int
    numeric_version: int  # of all arithmetic that decides bits
    frames: int
    blocks: dict[str, int]  # number of blocks by kind, and transform if there is one
    models: list[str]  # ids in hex
    bases: list[str]  # first bytes of their SHA-256, in hex
    portable: bool  # whether it decodes on any machine
    environments: list[dict[str, Any]]  # of float arithmetic, in which alone it decodes otherwise
    uncompressed_size: int
    compressed_size: int
    skipped_bytes: int = 0  # of skippable frames, which decoders pass over

    @property
    def bits_per_byte(self) -> float:
        return 8 * self.compressed_size / self.uncompressed_size if self.uncompressed_size else 0.0

    @property
    def ratio(self) -> float:
        return self.uncompressed_size / self.compressed_size

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "bits_per_byte": self.bits_per_byte, "ratio": self.ratio}


def info(data: Buffer) -> ArchiveInfo:
    """Read an archive's headers; no model is needed. Raises what ``decompress`` does for them."""
    return read_info(io.BytesIO(memoryview(data).cast("B")))


def read_info(source: BinaryIO) -> ArchiveInfo:
    """``info`` for a seekable file, without reading the payloads."""
    reader = FrameReader(source)
    frames = list(skipping_payloads(source, iter(reader)))
    blocks = [block for frame in frames for block in frame.blocks]
    return ArchiveInfo(
        format_version=max((frame.version for frame in frames), default=VERSION),
        numeric_version=NUMERIC_VERSION,
        frames=len(frames),
        blocks=dict(Counter(block.name for block in blocks)),
        models=sorted({frame.model_id.hex() for frame in frames if frame.model_id}),
        bases=sorted({frame.base_id.hex() for frame in frames if frame.base_id}),
        portable=not any(frame.environment for frame in frames),
        environments=[
            asdict(Environment.parse(packed))
            for packed in sorted({frame.environment for frame in frames if frame.environment})
        ],
        uncompressed_size=sum(frame.total for frame in frames),
        compressed_size=source.tell(),
        skipped_bytes=reader.skipped_bytes,
    )
