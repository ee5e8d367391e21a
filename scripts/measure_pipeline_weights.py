"""Prune, quantise, tune, pack: what each step does to a model's size and to its bits per byte.

usage: python scripts/measure_pipeline_weights.py MODEL_DIR --name NAME --work WORK --text FILE
           (--corpus CORPUS | --samples) [--bits 4,3] [--tuned 4,3] [--repack]
           [--csv docs/weights-pipeline.csv]

A point is bits (16: bfloat16), pruned or not, uniform or trellis, tuned or not. Its file and what
was measured on it stay in WORK/NAME, so a run that is broken off goes on; --repack only compresses
the files there again (after a change of the coder) and writes the table and the figures.

--samples: held-out text and tuning text are drawn from the model itself, with different seeds.
--corpus: a training corpus; measured on its held-out windows as docs/training.md does.
--text: a real text beside it, of which the first 32 KiB are measured.
--bits, --tuned: which bits, and which of them are tuned too; default: all.
Needs torch and matplotlib.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from plot_weights import plot

import nncodec
from nncodec.lossy import Checkpoint, Quantized, Settings, documents, lowrank, quantize, store
from nncodec.lossy.dequantize import plain
from nncodec.lossy.evaluate import CausalLM
from nncodec.lossy.prune import PruneConfig, prune
from nncodec.lossy.quantize import snr_db
from nncodec.lossy.samples import sample
from nncodec.lossy.tune import Batches, TuneConfig, corpus_batches, masks_of, text_batches, tune
from nncodec.tables import write_rows

BITS = (16, 8, 6, 5, 4, 3)
PRUNED = 0.5
STATES = 64
HELD_OUT, TUNING = (256, 1234), (1024, 100)  # texts drawn, and the seed
LENGTH = 256  # tokens of a drawn text
REAL_TEXT = 1 << 15
WINDOWS = 16  # held out, of each domain of a corpus
LEVEL = 9


@dataclass(frozen=True)
class Point:
    bits: int
    pruned: bool
    trellis: bool
    tuned: bool

    @property
    def key(self) -> str:
        marks = [(self.pruned, "pruned"), (self.trellis, "trellis"), (self.tuned, "tuned")]
        return "-".join([f"{self.bits:02}", *(name for on, name in marks if on)])


def points(bits_wanted: list[int], tuned: list[int]) -> Iterator[Point]:
    for bits in bits_wanted:
        for pruned in (False, True):
            for trellis in (False, True):
                for tune_it in (False, True):
                    if bits == 16 and (trellis or (tune_it and not pruned)):
                        continue  # nothing to quantise, nothing to mend
                    if not tune_it or bits in tuned:
                        yield Point(bits, pruned, trellis, tune_it)


class Pipeline:
    """One model: its weights, what it is measured on, and what is cached in ``work``."""

    def __init__(self, folder: Path, work: Path, args: argparse.Namespace) -> None:
        self.work, self.args = work, args
        self.original = store.read(folder / "model.safetensors")
        self.teacher, self.model = CausalLM(folder), CausalLM(folder)
        self.real = [args.text.read_bytes()[:REAL_TEXT]]
        if args.corpus:
            self.held_out: Callable[[], float] = self.by_domain()
        else:
            texts = self.drawn("held-out", *HELD_OUT)
            self.held_out = lambda: documents.bits_per_byte(self.model, texts)
        self.steps: dict[tuple[int, bool], float] = {}

    def drawn(self, name: str, count: int, seed: int) -> list[bytes]:
        path = self.work / f"{name}.txt"
        if not path.exists():
            texts = sample(self.teacher, count, seed, LENGTH)
            path.write_bytes(b"".join(text + b"\0" for text in texts))
        return documents.read(path)

    def by_domain(self) -> Callable[[], float]:
        from nncodec.lm.data import BatchSampler, load_domains
        from nncodec.lm.train import evaluate

        samplers = {
            d.name: BatchSampler([d], {d.name: 1.0}, WINDOWS, 512, seed=1)
            for d in load_domains(self.args.corpus, "valid")
        }
        cpu = torch.device("cpu")
        return lambda: evaluate(self.model.model.model, samplers, cpu)["mean"]

    def batches(self, config: TuneConfig) -> Batches:
        if self.args.corpus:
            return corpus_batches(self.teacher, self.args.corpus, config)
        return text_batches(self.teacher, self.drawn("tuning", *TUNING), config)

    def measure(self, checkpoint: Checkpoint) -> dict[str, float]:
        whole = lowrank.restore(plain(checkpoint)).tensors
        self.model.put(whole)
        error = energy = zeros = count = 0.0
        for name, tensor in self.original.tensors.items():
            before, after = tensor.floats().astype(np.float64), whole[name].floats()
            energy += float(np.square(before).sum())
            error += float(np.square(before - after).sum())
            if before.ndim > 1:
                zeros, count = zeros + int((after == 0).sum()), count + before.size
        return {
            "snr_db": snr_db(energy, error),
            "zeros": zeros / count,
            "bits_per_byte": self.held_out(),
            "text_bits_per_byte": documents.bits_per_byte(self.model, self.real),
        }

    def base(self, pruned: bool, tuned: bool) -> Checkpoint:
        """Float32 weights that are then quantised: the original, pruned, tuned after that."""
        if not pruned:
            return self.original
        checkpoint = prune(self.original, PruneConfig("l1", PRUNED))
        if not tuned:
            return checkpoint
        path = self.work / "base-pruned-tuned.safetensors"
        if not path.exists():
            config = TuneConfig(self.args.prune_steps, self.args.batch, self.args.prune_rate)
            made = tune(
                self.teacher, checkpoint, self.batches(config), config, masks_of(checkpoint)
            )
            store.write(path, made, LEVEL)
        return store.read(path)

    def step(self, bits: int, trellis: bool) -> float:
        """At which the unpruned weights' order-0 entropy is ``bits`` each, to a thousandth."""
        key = bits, trellis
        if key not in self.steps:
            step = 2.0**-6
            for _ in range(20):
                made = quantized(self.original, trellis, step)
                excess = made.bits / made.weights - bits
                if abs(excess) < 1e-3:
                    break
                step *= 2**excess  # twice the step is about a bit less
            self.steps[key] = step
        return self.steps[key]

    def make(self, point: Point) -> Checkpoint:
        base = self.base(point.pruned, point.tuned)
        if point.bits == 16:
            rounded = {n: store.from_floats(t.floats(), "BF16") for n, t in base.tensors.items()}
            return Checkpoint(rounded, base.metadata)
        step = self.step(point.bits, point.trellis)
        made = quantized(base, point.trellis, step).checkpoint
        if not point.tuned:
            return made
        config = TuneConfig(self.args.steps, self.args.batch)
        originals = {n: torch.from_numpy(t.floats().copy()) for n, t in base.tensors.items()}
        masks = masks_of(base) if point.pruned else None
        return tune(self.teacher, made, self.batches(config), config, masks, originals)

    def row(self, point: Point) -> dict[str, object]:
        """What was measured, from the cache or now."""
        file, record = (self.work / f"{point.key}{end}" for end in (".safetensors", ".json"))
        found = json.loads(record.read_text()) if record.exists() else {}
        if not found:
            made = self.make(point)
            store.write(file, made, LEVEL)
            found = self.measure(made)
        if self.args.repack or "archive" not in found:
            data = file.read_bytes()
            archive = nncodec.compress(data, LEVEL)
            assert nncodec.decompress(archive) == data
            found["archive"] = len(archive)
            record.write_text(json.dumps(found))
        return found


def quantized(checkpoint: Checkpoint, trellis: bool, step: float) -> Quantized:
    settings = Settings("trellis" if trellis else "uniform", step, states=STATES)
    return quantize(checkpoint.tensors, settings, metadata=checkpoint.metadata)


def table(
    pipeline: Pipeline, name: str, bits: list[int], tuned: list[int]
) -> Iterator[dict[str, str]]:
    elements = sum(tensor.data.size for tensor in pipeline.original.tensors.values())
    record = pipeline.work / "original.json"
    if not record.exists():
        record.write_text(json.dumps(pipeline.measure(pipeline.original)))
    before = json.loads(record.read_text())
    for point in points(bits, tuned):
        found = pipeline.row(point)
        row = {
            "model": name,
            **{k: str(int(v)) for k, v in asdict(point).items()},
            "snr_db": f"{found['snr_db']:.2f}",
            "zeros": f"{found['zeros']:.4f}",
            "archive_bytes": str(found["archive"]),
            "bits_a_weight": f"{8 * found['archive'] / elements:.4f}",
        }
        for key in ("bits_per_byte", "text_bits_per_byte"):
            row |= {f"{key}_before": f"{before[key]:.4f}", key: f"{found[key]:.4f}"}
        print(" ".join(row.values()), flush=True)
        yield row


def replace_rows(path: Path, name: str, rows: list[dict[str, str]]) -> None:
    """The model's rows in the table; those of other models stay."""
    kept = []
    if path.exists():
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if row["model"] != name]
    write_rows(path, kept + rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--corpus", type=Path)
    source.add_argument("--samples", action="store_true")
    parser.add_argument("--bits", default=",".join(map(str, BITS)))
    parser.add_argument("--tuned", default=",".join(map(str, BITS)))
    parser.add_argument("--steps", type=int, default=50, help="of tuning after quantisation")
    parser.add_argument("--prune-steps", type=int, default=200, help="of tuning after pruning")
    parser.add_argument("--prune-rate", type=float, default=3e-3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--repack", action="store_true")
    parser.add_argument("--csv", type=Path, default=Path("docs/weights-pipeline.csv"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    work = args.work / args.name
    work.mkdir(parents=True, exist_ok=True)
    bits, tuned = ([int(n) for n in text.split(",") if n] for text in (args.bits, args.tuned))
    rows = list(table(Pipeline(args.folder, work, args), args.name, bits, tuned))
    replace_rows(args.csv, args.name, rows)
    plot(args.csv)


if __name__ == "__main__":
    main()
