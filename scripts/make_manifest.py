"""Write models/MANIFEST.json from the folders beside it: name, id, numeric version, sizes, hashes.

usage: python scripts/make_manifest.py [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from nncodec.engine_weights import WEIGHTS_FILE
from nncodec.manifest import MANIFEST_FILE, describe

MODELS = Path(__file__).resolve().parent.parent / "models"


def manifest() -> str:
    rows = [describe(path.parent) for path in sorted(MODELS.glob(f"*/{WEIGHTS_FILE}"))]
    return json.dumps(rows, indent=2) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail if the file is out of date")
    path = MODELS / MANIFEST_FILE
    if not parser.parse_args().check:
        path.write_text(manifest(), "utf-8")
    elif path.read_text("utf-8") != manifest():
        sys.exit(f"{path} is out of date: run python scripts/make_manifest.py")


if __name__ == "__main__":
    main()
