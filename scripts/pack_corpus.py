"""Pack folders of files into the training format: <domain>.bin/.idx and held-out .valid.bin/.idx.

usage: python scripts/pack_corpus.py -o CORPUS DOMAIN=FOLDER...      (for example prose=~/texts)

Every file is a document, closed by one separator byte. About one in a hundred, chosen by the hash
of its contents, is held out; of a few files the end of each.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from nncodec.lm.packing import Document, files_below, split, write_domain

HELD_OUT_OF_256 = 3


def pack(folder: Path, target: Path) -> dict[str, int]:
    """Write one domain; returns the number of documents by split."""
    train, valid = split([Document.of(path) for path in files_below(folder)], HELD_OUT_OF_256)
    return {
        "train": write_domain(train, target),
        "valid": write_domain(valid, target.with_name(target.name + ".valid")),
    }


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
        if not re.fullmatch(r"\w+", name):
            parser.error(f"{name!r} cannot be a domain: use letters, digits and '_'")
        counts = pack(source, arguments.output / name)
        print(f"{name}: {counts['train']} documents, {counts['valid']} held out")


if __name__ == "__main__":
    main()
