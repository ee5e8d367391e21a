"""The headline tables, measured: ``nncodec bench`` over the test corpora into docs/results.

usage: python scripts/make_results.py CORPORA [--quick | --corpus] [-o FOLDER]

CORPORA is the folder of test files (corpora/README.md says where they come from). Without an
option: the files of the README's table, medians of three runs, as ``readme.csv`` with a page and
figures; nothing else should run beside it. ``--quick`` makes one run of each, in some minutes.
``--corpus`` takes every file, once, for the sizes, as ``corpus.csv``, which is hours. All go on
where they were interrupted. ``results_tables.py`` then puts the figures into the documents.

Programs that are not installed are in the tables all the same: as absent, or with the figure that
``quoted.csv`` has for the file, and whose it is.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FILES = (
    "alice29.txt",
    "lcet10.txt",
    "plrabn12.txt",
    "enwik6",
    "valkey-t_stream.c",
    "flask-src.tar",
    "twitter.json",
    "HDFS_2k.log",
    "airports.csv",
    "kennedy.xls",
    "xquad.th.json",
)
OURS = ("nncodec", "nncodec:level=1")
LIBRARIES = ("gzip:9", "bz2:9", "xz:9e", "zstd:19", "zstd:22", "brotli:11")
PROGRAMS = ("bzip3:16", "zpaq:5", "lpaq8:9", "mcm:h9", "paq8px:8", "cmix")
RESULTS = Path(__file__).parents[1] / "docs" / "results"


def find(corpora: Path, name: str) -> Path:
    """The file of that name in any folder below: corpora are unpacked in many ways."""
    for path in sorted(corpora.rglob(name)):
        return path
    sys.exit(f"make_results.py: there is no {name} below {corpora}; give the folder of the corpora")


def every_file(corpora: Path) -> list[Path]:
    """The smallest first: a run that is cut short has the most files."""
    files = [path for path in corpora.rglob("*") if path.is_file() and path.name != "MANIFEST.tsv"]
    return sorted(files, key=lambda path: (path.stat().st_size, path.name))


def command(corpora: Path, quick: bool, corpus: bool, out: Path, again: bool) -> list[str]:
    """``nncodec bench`` with everything that decides the table."""
    name = "corpus" if corpus else "readme"
    inputs = every_file(corpora) if corpus else [find(corpora, file) for file in FILES]
    codecs = (*OURS, *LIBRARIES, *PROGRAMS)
    once = ["--runs", "1", "--warm-up", "0"] if quick or corpus else ["--runs", "3"]
    return [
        *(sys.executable, "-m", "nncodec", "bench", *map(str, inputs)),
        *("--codecs", ",".join(codecs), *once, *(["--again"] if again else [])),
        *("--quoted", str(RESULTS / "quoted.csv"), "--csv", str(out / f"{name}.csv")),
        *([] if corpus else ["--html", str(out / f"{name}.html")]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpora", type=Path)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--quick", action="store_true", help="one run of the README's files")
    which.add_argument("--corpus", action="store_true", help="every file, once")
    parser.add_argument("--again", action="store_true", help="what was measured already, too")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.quick and arguments.output == RESULTS:
        parser.error("--quick is not for docs/results: give a folder with -o")
    arguments.output.mkdir(parents=True, exist_ok=True)
    corpora, out = arguments.corpora.resolve(), arguments.output.resolve()
    run = command(corpora, arguments.quick, arguments.corpus, out, arguments.again)
    # Not in the source tree, where -m would find a package that is not built.
    sys.exit(subprocess.run(run, cwd=out, check=False).returncode)


if __name__ == "__main__":
    main()
