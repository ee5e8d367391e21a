"""What URLs cost: scripts/measure_remote.py --csv docs/results/remote.csv

Requests and bytes as S3's protocol has them, counted by the server of the tests (moto's, on the
loopback; needs the extras remote and dev). An archive of --bytes in blocks of 1 MiB, of noise but
for its first tenth, which is lines; what each command asks, by kind of request, the bytes that
come, and the peak of resident memory. Seconds are not measured: a loopback says nothing of them.
Needs Linux; some minutes.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from measure_streams import lines  # noqa: E402
from s3_server import Request, Server, serve  # noqa: E402

from nncodec.tables import write_rows  # noqa: E402

MIB = 1 << 20
COLUMNS = (
    *("what", "head", "list", "get", "put", "post", "delete", "bytes_read", "bytes_written"),
    "peak_mib",
)
PEAK = """
import re, sys
from nncodec.cli import main
try:
    main()
finally:  # of this process alone: ru_maxrss begins with that of its parent
    print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


def kind(request: Request) -> str:
    """What stores bill by: reads of objects, listings, and the rest by its method."""
    if request.method == "GET" and not request.reads:
        return "list"
    return request.method.lower()


def measure(server: Server, what: str, *arguments: str) -> dict[str, object]:
    server.reset()
    command = [sys.executable, "-c", PEAK, *arguments, "-q"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    row: dict[str, object] = {"what": what} | dict.fromkeys(COLUMNS[1:], 0)
    for request in server.requests:
        row[kind(request)] = int(str(row[kind(request)])) + 1
    row["bytes_read"] = sum(request.sent for request in server.reads())
    row["bytes_written"] = sum(request.received for request in server.requests)
    row["peak_mib"] = round(int(done.stderr.split()[-1]) / 1024)
    print(row, file=sys.stderr)
    return row


def rows_of(server: Server, folder: Path, size: int) -> list[dict[str, object]]:
    import s3fs

    fs = s3fs.S3FileSystem()
    fs.mkdir("bucket")
    rng = random.Random(1)
    local = folder / "x"
    with local.open("wb") as file:
        file.write(lines(size // 10, 1))
        for _ in range(size // 10, size, MIB):
            file.write(rng.randbytes(MIB))
    fs.put_file(str(local), "bucket/x")
    far, archive = "s3://bucket/x", "s3://bucket/x.nnc"
    blocks = ("-1", "--block-size", "1M")
    middle = size // 2
    return [
        measure(server, "compress FILE -o URL", "compress", *blocks, str(local), "-o", archive),
        measure(server, "compress URL", "compress", *blocks, "-f", far),
        measure(server, "test URL", "test", archive),
        measure(server, "decompress URL -o FILE", "decompress", archive, "-o", str(folder / "y")),
        measure(server, "decompress URL -o URL", "decompress", archive, "-o", "s3://bucket/y"),
        measure(
            server,
            "decompress --range (100 bytes)",
            *("decompress", "--range", f"{middle}:{middle + 100}", archive),
            *("-o", str(folder / "z")),
        ),
        measure(
            server,
            "decompress --range (4 MiB)",
            *("decompress", "-f", "--range", f"{middle}:{middle + 4 * MIB}", archive),
            *("-o", str(folder / "z")),
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--bytes", type=int, default=100 * MIB)
    options = parser.parse_args()
    with serve() as (address, server), tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        write_rows(options.csv, rows_of(server, Path(folder), options.bytes))


if __name__ == "__main__":
    main()
