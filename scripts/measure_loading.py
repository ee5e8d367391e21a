"""What loading samples takes: scripts/measure_loading.py FOLDER --csv docs/results/loading.csv

Text of FOLDER, up to --bytes of it, is cut into samples of some kilobytes and packed at level 1.
Then a DataLoader reads for --seconds at most: as a stream, shuffled by blocks (as a stream, and by
number with BlockShuffleSampler), and by number at random, with 0, 1 and 2 workers. MB are 10^6
bytes of samples; the time that workers take to start counts, as it does in every epoch. An archive
keeps 32 MiB decoded, and a corpus is larger: so here it keeps a quarter of what there is, and
windows are half of that. ``decoded`` is what was decoded for a byte of samples, without workers,
which tell nobody.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, RandomSampler

from nncodec.pack import PackWriter, recent
from nncodec.pack.torch import BlockShuffleSampler, PackedDataset, PackedIterableDataset
from nncodec.pack.writer import BLOCK_SIZE
from nncodec.tables import write_rows

BATCH = 32
SAMPLE = 4096  # bytes, to the end of a line


def samples(folder: Path, most: int) -> Iterator[bytes]:
    """Lines together until they are a sample; only what is text."""
    given = 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()[: most - given]
        if b"\0" in data[:4096]:
            continue
        given += len(data)
        held = b""
        for line in data.splitlines(keepends=True):
            held += line
            if len(held) >= SAMPLE:
                yield held
                held = b""
        if held:
            yield held
        if given >= most:
            return


def loaders(archive: Path, workers: int, buffer: int) -> Iterator[tuple[str, Any]]:
    common: Any = {"batch_size": BATCH, "num_workers": workers, "collate_fn": list}
    yield "stream", DataLoader(PackedIterableDataset(archive), **common)
    mixed: Any = PackedIterableDataset(archive, shuffle=True, buffer=buffer)
    yield "stream, shuffled", DataLoader(mixed, **common)
    found: PackedDataset[bytes] = PackedDataset(archive)
    sampler = BlockShuffleSampler(found, batch_size=BATCH, workers=workers, buffer=buffer)
    yield "by number, block shuffle", DataLoader(found, sampler=sampler, **common)
    found = PackedDataset(archive)
    yield "by number, random", DataLoader(found, sampler=RandomSampler(found), **common)


def measure(loader: Any, seconds: float) -> tuple[int, int, float]:
    """Samples, bytes, seconds."""
    began, count, size = time.perf_counter(), 0, 0
    for batch in loader:
        count, size = count + len(batch), size + sum(map(len, batch))
        if time.perf_counter() - began > seconds:
            break
    return count, size, time.perf_counter() - began


def decoded(loader: Any, size: int) -> float:
    """Bytes of blocks that this process decoded for a byte of samples, from whole blocks."""
    found = getattr(loader.dataset, "samples", loader.dataset)
    return round(found.archive.blocks_decoded * BLOCK_SIZE / size, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bytes", type=int, default=20_000_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--csv", type=Path, required=True)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        archive, began = Path(folder) / "c.nnc", time.perf_counter()
        with PackWriter(archive) as writer:
            found = samples(options.folder, options.bytes)
            writer.extend((f"{number:07d}", data) for number, data in enumerate(found))
            summary = writer.finish()
        if not summary.content:
            sys.exit(f"{options.folder}: no text in it")
        rate = summary.content / 1e6 / (time.perf_counter() - began)
        print(f"packed {summary.size} bytes to {summary.packed}: {rate:.2f} MB/s", flush=True)
        recent.KEPT = kept = min(recent.KEPT, summary.content // 4)
        for workers in options.workers:
            for what, loader in loaders(archive, workers, kept // 2):
                count, size, seconds = measure(loader, options.seconds)
                row = {
                    "order": what,
                    "workers": workers,
                    "samples": count,
                    "of": summary.files,
                    "archive_bytes": summary.packed,
                    "bytes": summary.size,
                    "kept_bytes": kept,
                    "seconds": round(seconds, 1),
                    "decoded": decoded(loader, size) if not workers else "",
                    "mb_per_s": round(size / 1e6 / seconds, 3),
                    "samples_per_s": round(count / seconds),
                }
                print(row, flush=True)
                rows.append(row)
    write_rows(options.csv, rows)


if __name__ == "__main__":
    main()
