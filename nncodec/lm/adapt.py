"""A model of one's own files: a shipped model goes on learning from them, and says what that gains.

The gain is measured on files, or ends of files, that training never saw, as real archives of the
default level; against it stands the size of the new model, which has to reach whoever decompresses.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nncodec.api import load_codec
from nncodec.config import CONFIG_FILE, FLOAT_FILE
from nncodec.engine_weights import WEIGHTS_FILE, EngineModel
from nncodec.errors import NNCodecError
from nncodec.files import write_atomically
from nncodec.levels import DEFAULT_LEVEL
from nncodec.lm.packing import Document, files_below, split, write_domain
from nncodec.lm.plan import TrainConfig
from nncodec.lm.run import export_folder, train_run
from nncodec.modelcard import CARD_FILE
from nncodec.modelstore import locate_float

DOMAIN = "own"
RUN = ".nncodec-adapt"  # the run, inside the model's folder
LEAST_BYTES = 1 << 16
HELD_OUT_OF_256 = 16  # documents, by hash; or this share of the end of each, where they are few
LEAST_MEASURED, MEASURED_BYTES = 1 << 10, 1 << 22  # of held-out data
PASSES, LEAST_SEEN, MOST_SEEN = 4, 1_000_000, 64_000_000  # of the default budget
ADAPTING = {"muon_lr": 0.005, "adam_lr": 0.001}  # a quarter of the rates that models begin with


@dataclass(frozen=True)
class Gain:
    """What a model that was adapted saves on ``size`` held-out bytes, and what it weighs itself."""

    size: int
    before: int  # bytes of their archive with the old model
    after: int  # with the new one
    model_bytes: int

    @property
    def percent(self) -> float:
        return 100 * (self.after - self.before) / self.before

    @property
    def break_even(self) -> int | None:
        """Bytes of such data after which the model has paid for its size; None: never."""
        saved = self.before - self.after
        return -(-self.model_bytes * self.size // saved) if saved > 0 else None

    def lines(self, base: str) -> list[str]:
        b, a = (8 * n / self.size for n in (self.before, self.after))
        found = (
            f"held out: {self.size} bytes, {self.before} with {base}, {self.after} adapted "
            f"({b:.3f} -> {a:.3f} bits/byte, {self.percent:+.2f} %)"
        )
        if self.break_even is None:
            return [found, f"no gain: go on with {base}"]
        cost = f"the model has {self.model_bytes} bytes"
        return [found, f"break-even after {self.break_even} bytes of such data ({cost})"]


def measure(folder: Path, base: Path, held_out: list[Document]) -> Gain:
    """Archives of the held-out documents, or of as much of the beginning of each as is measured."""
    size = sum(map(len, held_out))
    share = min(1.0, MEASURED_BYTES / size)
    data = b"".join(document.read(math.ceil(share * len(document))) for document in held_out)
    symbols = np.frombuffer(data, dtype=np.uint8)
    before, after = (
        len(load_codec(DEFAULT_LEVEL, str(model)).compress(symbols)) for model in (base, folder)
    )
    weight = sum((folder / name).stat().st_size for name in ("config.json", WEIGHTS_FILE))
    return Gain(len(data), before, after, weight)


def default_bytes(size: int) -> int:
    """Bytes to train on for data of ``size`` bytes, if nobody says: a few passes over it."""
    return min(max(PASSES * size, LEAST_SEEN), MOST_SEEN)


def check_origin(path: Path, model_id: str, documents: list[Document]) -> None:
    """Record what a run began with; one that was interrupted goes on with the same alone.

    Raises NNCodecError naming what differs.
    """
    digest = hashlib.sha256(b"".join(d.digest.encode() for d in documents)).hexdigest()
    origin = {"model": model_id, "data": digest}
    if not path.exists():
        write_atomically(path, json.dumps(origin).encode())
    old = json.loads(path.read_text())
    other = [name for name, value in origin.items() if old.get(name) != value]
    if other:
        raise NNCodecError(
            f"{path.parent} was begun with another {' and '.join(other)}; "
            "remove it, or name a new folder"
        )


def adapt(
    base: str,
    source: Path,
    output: Path,
    plan: TrainConfig,
    device: str = "",
    report: Callable[[str], None] = print,
) -> Gain:
    """Fine-tune the model named ``base`` on the files of ``source``; ``output`` is a model folder.

    A ``plan`` without a budget gets one by the size of the data. While it lasts, the run is in
    ``output/.nncodec-adapt``, from where the same call goes on after a kill. Raises NNCodecError if
    ``output`` is in use, there is too little data or ``base`` has no float weights,
    FileNotFoundError.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise NNCodecError("a model is adapted by one process: start it without torchrun")
    folder = locate_float(base)
    run = output / RUN
    if output.exists() and not {path.name for path in output.iterdir()} <= ours(run):
        raise NNCodecError(f"{output} is there already and not empty; name a new folder")
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder")
    documents = [Document.of(path) for path in files_below(source, but=output)]
    size = sum(map(len, documents))
    if size < LEAST_BYTES:
        raise NNCodecError(
            f"{source}: {size} bytes are too few to learn from, {LEAST_BYTES} needed"
        )
    train_part, held_out = split(documents, HELD_OUT_OF_256)
    seen = sum(map(len, train_part))
    if size - seen < LEAST_MEASURED:
        raise NNCodecError(
            f"{source}: {size - seen} bytes can be held out, too few to measure a gain on; "
            "put small files together into larger ones"
        )
    corpus = run / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    base_id = EngineModel.load(folder).model_id.hex()
    check_origin(run / "origin.json", base_id, documents)
    write_domain(train_part, corpus / DOMAIN)
    write_domain(held_out, corpus / f"{DOMAIN}.valid")
    report(f"{len(documents)} files, {seen} bytes to learn, {size - seen} held out")
    plan = replace(plan, crlf=0.0)  # line ends stay what they are in files of one's own
    if not plan.minutes and not plan.bytes:
        plan = replace(plan, bytes=default_bytes(seen))
    train_run(corpus, run, plan, None, folder, device, report)
    made = run / "model"
    export_folder(run, corpus, made, split="train", force=True)  # what is held out stays unseen
    gain = measure(made, folder, held_out)
    model_id = EngineModel.load(made).model_id.hex()
    for line in gain.lines(base):
        report(line)
    report(f"model id {model_id}")
    facts = {"name": output.resolve().name, "base": base, "base_id": base_id, "seen": seen}
    card = CARD.format(**facts, figures="\n".join(gain.lines(base)))
    write_atomically(made / CARD_FILE, card.encode())
    for name in (CARD_FILE, CONFIG_FILE, FLOAT_FILE, WEIGHTS_FILE):  # the last makes it a model
        os.replace(made / name, output / name)
    shutil.rmtree(run)
    return gain


def ours(run: Path) -> set[str]:
    """What may be in the model's folder: nothing, or a run, and then what it leaves at its end."""
    files = {CARD_FILE, CONFIG_FILE, FLOAT_FILE, WEIGHTS_FILE}
    return {run.name} | files if run.exists() else set()


CARD = """\
---
library_name: nncodec
tags: [compression, byte-level, lossless]
---
# {name}

{base} (id {base_id}), adapted to {seen} bytes of its owner's files with
`nncodec train --from {base} --data`.

{figures}
"""
