"""What streams and ranges take: scripts/measure_streams.py --csv docs/results/streams.csv

A stream of --bytes, the same every time, goes through ``nncodec compress -1 - | nncodec decompress
-``, with all cores and with one thread, and its SHA-256 is compared: a tenth of it is lines like a
server's log, then noise, which is stored, and zeros. Then ranges of a file of noise and lines, in
blocks of 1 and of 16 MiB: how many blocks were decoded. Peaks are of resident memory; a child's
counts what it had from its parent, so the streams come first, while this process is small. Needs
Linux or macOS; some minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nncodec.tables import write_rows

NNCODEC = [sys.executable, "-m", "nncodec"]
PIECE = 1 << 20
FILE_BYTES, LINES_BYTES = 106 << 20, 2 << 20
RANGES = ("0:1", "10M:11M", "63M:67M", "64M:65M", "105M:", "0:")
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
MIB = 1 << 20
COLUMNS = (
    *("what", "bytes", "archive_bytes", "block_size", "compress_peak_mib", "decompress_peak_mib"),
    *("seconds", "blocks_decoded", "blocks"),
)


def lines(size: int, seed: int) -> bytes:
    """``size`` bytes that context models have work with."""
    rng, out = random.Random(seed), bytearray()
    while len(out) < size:
        out += b"%d.%03d client%02d GET /item/%d?page=%d %d %d\n" % (
            *(1_700_000_000 + len(out) // 90, rng.randrange(1000), rng.randrange(40)),
            *(rng.randrange(5000), rng.randrange(9), rng.choice((200, 200, 200, 304, 404))),
            rng.randrange(100, 20_000),
        )
    return bytes(out[:size])


def stream(size: int) -> Iterator[bytes]:
    """Pieces: a tenth lines, seven tenths noise, the rest zeros."""
    rng = random.Random(0)
    for begin in range(0, size, PIECE):
        length = min(PIECE, size - begin)
        if begin < size // 10:
            yield lines(length, begin)
        elif begin < size * 8 // 10:
            yield rng.randbytes(length)
        else:
            yield bytes(length)


def through_pipe(size: int, options: Sequence[str] = ()) -> dict[str, Any]:
    sent, got, packed = hashlib.sha256(), hashlib.sha256(), 0
    began = time.perf_counter()
    pipe = subprocess.PIPE
    first = subprocess.Popen([*NNCODEC, "compress", "-1", *options, "-"], stdin=pipe, stdout=pipe)
    second = subprocess.Popen([*NNCODEC, "decompress", *options, "-"], stdin=pipe, stdout=pipe)
    assert first.stdout
    assert second.stdin

    def feed() -> None:
        assert first.stdin
        for piece in stream(size):
            sent.update(piece)
            first.stdin.write(piece)
        first.stdin.close()

    def drain() -> None:
        assert second.stdout
        while piece := second.stdout.read(PIECE):
            got.update(piece)

    threads = [threading.Thread(target=work) for work in (feed, drain)]
    for thread in threads:
        thread.start()
    while piece := first.stdout.read(PIECE):
        packed += len(piece)
        second.stdin.write(piece)
    second.stdin.close()
    for thread in threads:
        thread.join()
    peaks = []
    for process in (first, second):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peaks.append(usage.ru_maxrss * RSS_UNIT)
    if first.returncode or second.returncode or sent.digest() != got.digest():
        sys.exit("the stream did not come back")
    what = " ".join(["stream", *options])
    row: dict[str, Any] = {"what": what, "bytes": size, "archive_bytes": packed}
    for name, peak in zip(("compress", "decompress"), peaks, strict=True):
        row[f"{name}_peak_mib"] = round(peak / MIB)
    return row | {"seconds": round(time.perf_counter() - began)}


def ranges(folder: Path) -> Iterator[dict[str, Any]]:
    noise = random.Random(1).randbytes(FILE_BYTES - LINES_BYTES)
    data = noise[: 32 << 20] + lines(LINES_BYTES, 1) + noise[32 << 20 :]
    path = folder / "file"
    path.write_bytes(data)
    for block_size in ("1M", "16M"):
        packed = folder / f"{block_size}.nnc"
        options = ["-1", "-q", "--block-size", block_size, "-o", str(packed)]
        subprocess.run([*NNCODEC, "compress", *options, str(path)], check=True)
        for span in RANGES:
            command = [*NNCODEC, "decompress", "-v", "--range", span, str(packed)]
            done = subprocess.run(command, capture_output=True, check=True)
            begin, end = (place(text) for text in span.split(":"))
            if done.stdout != data[begin:end]:
                sys.exit(f"{span} is not what was compressed")
            found = re.search(rb"decoded (\d+) of (\d+) blocks", done.stderr)
            assert found
            row: dict[str, Any] = {"what": f"--range {span}", "bytes": len(done.stdout)}
            row |= {"archive_bytes": packed.stat().st_size, "block_size": block_size}
            yield row | {"blocks_decoded": int(found[1]), "blocks": int(found[2])}


def place(text: str) -> int | None:
    """As --range has it."""
    return int(text.removesuffix("M")) << (20 if text.endswith("M") else 0) if text else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bytes", type=int, default=10**9)
    parser.add_argument("--csv", type=Path, required=True)
    args = parser.parse_args()
    streams = [through_pipe(args.bytes, options) for options in ((), ("-T1",))]
    rows = [dict.fromkeys(COLUMNS, "") | row for row in streams]
    with tempfile.TemporaryDirectory() as name:
        rows += [dict.fromkeys(COLUMNS, "") | row for row in ranges(Path(name))]
    for row in rows:
        print(*row.values(), sep=", ")
    write_rows(args.csv, rows)


if __name__ == "__main__":
    main()
