"""Kill the program at random moments, and count what was lost and what was left behind.

    python scripts/measure_faults.py FILE --kills 50 [--level 1] [--csv OUT.csv]

Each turn starts ``nncodec compress --rm FILE`` or ``decompress --rm FILE.nnc`` on a copy, in a
folder of its own, and kills it (SIGKILL) after a time drawn uniformly from 0 to a twentieth more
than an undisturbed run takes. Afterwards the file or its archive must be there, and whatever is
there under a final name must be whole: the file byte for byte, the archive byte for byte the one of
an undisturbed run. Counted are turns in which neither is there (losses), partial or wrong files
under a final name, and leftovers under a temporary one; and at which stage the kill hit.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

CLI = "from nncodec.cli import main; main()"
# A system without files that have no name (O_TMPFILE): outputs have temporary names.
NAMED = "import os; vars(os).pop('O_TMPFILE', None); "


def start(*words: str | Path, before: str = "") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", before + CLI, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def words_of(way: str, level: int, file: Path, archive: Path) -> tuple[str | Path, ...]:
    if way == "compress":
        return "compress", f"-{level}", "-q", "--rm", file
    return "decompress", "-q", "--rm", archive


def measure(data: bytes, kills: int, level: int, named: bool, seed: int) -> list[dict[str, object]]:
    """One row for each direction."""
    before, rng, rows = NAMED if named else "", random.Random(seed), []
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as name:
        folder = Path(name)
        file, archive = folder / "file", folder / "file.nnc"
        file.write_bytes(data)
        undisturbed, whole = {}, b""
        for way in ("compress", "decompress"):
            begin = time.monotonic()
            if start(*words_of(way, level, file, archive), before=before).wait():
                sys.exit(f"{way} fails undisturbed")
            undisturbed[way] = time.monotonic() - begin
            whole = whole or archive.read_bytes()
        if file.read_bytes() != data:
            sys.exit("decompress gives other bytes undisturbed")
        for way, seconds in undisturbed.items():
            counts: Counter[str] = Counter()
            for turn in range(kills):
                for path in folder.iterdir():
                    path.unlink()
                given, wanted = (file, data) if way == "compress" else (archive, whole)
                given.write_bytes(wanted)
                process = start(*words_of(way, level, file, archive), before=before)
                time.sleep(rng.uniform(0, 1.05 * seconds))
                process.kill()
                counts["finished before the kill"] += process.wait() == 0
                there = {path.name: path.read_bytes() for path in folder.iterdir()}
                counts["leftovers"] += any(left.startswith(".nncodec-") for left in there)
                counts["lost"] += file.name not in there and archive.name not in there
                counts["wrong"] += there.get(file.name, data) != data
                counts["wrong"] += there.get(archive.name, whole) != whole
                both = file.name in there and archive.name in there
                output = archive if way == "compress" else file
                counts["output and source there"] += both
                counts["source only"] += output.name not in there
                print(f"{way} {turn + 1}/{kills}: {dict(counts)}", file=sys.stderr, flush=True)
            columns = ("lost", "wrong", "leftovers", "source only", "output and source there",
                       "finished before the kill")  # fmt: skip
            about = {"way": way, "bytes": len(data), "level": level, "named": named, "kills": kills}
            rows.append({**about, **{column: counts[column] for column in columns}})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--level", type=int, default=1)
    parser.add_argument("--named", action="store_true", help="as if there were no O_TMPFILE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    data = options.file.read_bytes()
    rows = measure(data, options.kills, options.level, options.named, options.seed)
    with open(options.csv or os.devnull, "a", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(", ".join(f"{name}: {value}" for name, value in row.items()))
    if any(row["lost"] or row["wrong"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
