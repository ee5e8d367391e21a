"""Pack folders of files into the training format: <domain>.bin/.idx and held-out .valid.bin/.idx.

usage: python scripts/pack_corpus.py -o CORPUS DOMAIN=FOLDER...      (for example prose=~/texts)

Every file is a document, closed by one separator byte. About one in a hundred, chosen by the hash
of its contents, is held out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nncodec.lm.packing import Document, files_below, write_domain

HELD_OUT_OF_256 = 3


def pack(folder: Path, target: Path) -> dict[str, int]:
    """Write one domain; returns the number of documents by split."""
    documents = [Document.of(path) for path in files_below(folder)]
    counts = {}
    for split, suffix in (("train", ""), ("valid", ".valid")):
        held_out = split == "valid"
        part = (d.read() for d in documents if d.is_held_out(HELD_OUT_OF_256) == held_out)
        counts[split] = write_domain(part, target.with_name(target.name + suffix))
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
