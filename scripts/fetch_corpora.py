"""Download standard corpora named in corpora/registry.toml and verify every file.

usage: python scripts/fetch_corpora.py NAME...        (--list shows the names)
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import pooch

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REGISTRY = Path(__file__).resolve().parent.parent / "corpora" / "registry.toml"


def load_registry() -> dict[str, Any]:
    return tomllib.loads(REGISTRY.read_text("utf-8"))


def fetch(name: str, corpus: dict[str, Any], folder: Path) -> list[Path]:
    """Download one corpus; returns its verified files. Raises ValueError for a wrong hash."""
    unpack = pooch.Unzip() if corpus["url"].endswith(".zip") else pooch.Untar()
    found = {
        Path(path).name: Path(path)
        for path in pooch.retrieve(
            corpus["url"], known_hash=None, path=folder / name, processor=unpack, progressbar=False
        )
    }
    paths = []
    for file, facts in corpus["files"].items():
        if file not in found:
            raise ValueError(f"{name}: the download holds no {file}")
        digest = hashlib.sha256(found[file].read_bytes()).hexdigest()
        if digest != facts["sha256"]:
            raise ValueError(f"{name}/{file}: sha256 is {digest}, expected {facts['sha256']}")
        paths.append(found[file])
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", action="store_true", help="show what can be fetched")
    arguments = parser.parse_args()
    registry = load_registry()
    if arguments.list or not arguments.names:
        for name, corpus in registry.items():
            print(f"{name:24} {corpus['note']} ({corpus['licence']})")
        return
    unknown = sorted(set(arguments.names) - set(registry))
    if unknown:
        sys.exit(f"fetch_corpora.py: unknown corpus {', '.join(unknown)}; --list shows the names")
    folder = Path(os.environ.get("NNCODEC_DATA") or pooch.os_cache("nncodec"))
    for name in arguments.names:
        for path in fetch(name, registry[name], folder):
            print(path)


if __name__ == "__main__":
    main()
