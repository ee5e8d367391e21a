"""python -m independent FILE.nnc [--base FILE] [--models FOLDER ..] > out"""

import argparse
import sys
from pathlib import Path

from .decoder import decode
from .errors import Rejected
from .model_folder import finder

parser = argparse.ArgumentParser(prog="independent", description=__doc__)
parser.add_argument("archive", type=Path)
parser.add_argument("--base", type=Path)
parser.add_argument("--models", type=Path, nargs="*", help="folders of model folders")
arguments = parser.parse_args()
folders = arguments.models or [Path("models"), Path("tests/golden/models")]
try:
    contents = decode(
        arguments.archive.read_bytes(),
        finder(folders),
        arguments.base.read_bytes() if arguments.base else None,
    )
except Rejected as error:
    sys.exit(f"{arguments.archive}: rejected: {error}")
sys.stdout.buffer.write(contents)
