"""Pack folders of files into the training format: <domain>.bin/.idx and held-out .valid.bin/.idx.

usage: python scripts/pack_corpus.py -o CORPUS DOMAIN=FOLDER...      (for example prose=~/texts)

Every file is a document, closed by one separator byte. About one in a hundred, chosen by the hash
of its contents, is held out.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np

HELD_OUT_OF_256 = 3


def pack(folder: Path, target: Path) -> dict[str, int]:
    """Write one domain; returns the number of documents by split. Empty files are left out."""
    counts = {}
    for split, suffix in (("train", ".bin"), ("valid", ".valid.bin")):
        offsets = [0]
        path = target.parent / (target.name + suffix)
        with path.open("wb") as out:
            for file in sorted(p for p in folder.rglob("*") if p.is_file()):
                data = file.read_bytes()
                held_out = hashlib.sha256(data).digest()[0] < HELD_OUT_OF_256
                if data and held_out == (split == "valid"):
                    out.write(data + b"\0")
                    offsets.append(offsets[-1] + len(data) + 1)
        counts[split] = len(offsets) - 1
        if counts[split]:
            np.array(offsets, dtype="<u8").tofile(path.with_suffix(".idx"))
        else:
            path.unlink()  # a domain without documents would only be in the way
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("domains", nargs="+", metavar="DOMAIN=FOLDER")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for pair in arguments.domains:
        name, separator, folder = pair.partition("=")
        source = Path(folder).expanduser()
        if not separator or not source.is_dir():
            parser.error(f"{pair!r} is not DOMAIN=FOLDER with an existing folder")
        counts = pack(source, arguments.output / name)
        print(f"{name}: {counts['train']} documents, {counts['valid']} held out")


if __name__ == "__main__":
    main()
