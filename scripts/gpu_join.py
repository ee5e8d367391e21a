"""Put together what gpu_drive.py brought: python scripts/gpu_join.py FOLDER... -o RUN

FOLDERs hold the pieces, in any order. RUN is then a run folder: ``nncodec train -o RUN`` goes on
with it and ``nncodec export RUN`` takes it. With --weights-only the optimiser's pieces may be
missing; such a folder is for export and --from.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from gpu_drive import OPTIMIZER, WEIGHTS
from gpu_parts import INDEX, PartsError, is_intact, read_index, unpack
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def common_index(folders: list[Path]) -> dict[str, Any]:
    """The folders' one index. Raises PartsError if they come from two snapshots, or have none."""
    texts = {(folder / INDEX).read_bytes() for folder in folders if (folder / INDEX).exists()}
    if len(texts) > 1:
        raise PartsError("the folders hold pieces of different snapshots; join one at a time")
    return read_index(next((f for f in folders if (f / INDEX).exists()), folders[0]))


def join_checkpoint(folder: Path) -> None:
    """Weights and optimiser state as training saved them: one file, with the run's position."""
    with safe_open(folder / OPTIMIZER, "pt") as file:
        metadata = file.metadata()
    tensors = {f"model.{k}": v for k, v in load_file(folder / WEIGHTS).items()}
    tensors |= load_file(folder / OPTIMIZER)
    save_file(tensors, folder / "checkpoint.safetensors", metadata=metadata)
    (folder / OPTIMIZER).unlink()


def join(folders: list[Path], run: Path, weights_only: bool) -> None:
    if run.exists():
        raise FileExistsError(f"{run} exists; give a new folder")
    index = common_index(folders)
    entries = {part["name"]: part for part in index["parts"]}

    def find(name: str) -> Path | None:
        """A whole copy of a piece before a damaged one: it may have been brought twice."""
        copies = [folder / name for folder in folders if (folder / name).exists()]
        whole = (path for path in copies if is_intact(entries[name], path))
        return next(whole, copies[0] if copies else None)

    temporary = run.with_name(run.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        unpack(index, find, temporary, lambda name: not (weights_only and name == OPTIMIZER))
        if not weights_only:
            join_checkpoint(temporary)
        temporary.rename(run)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN")
    parser.add_argument("--weights-only", action="store_true")
    arguments = parser.parse_args()
    try:
        join(arguments.folders, arguments.output, arguments.weights_only)
    except (PartsError, OSError) as error:
        sys.exit(f"gpu_join: {error}")
    print(f"joined: {arguments.output}")


if __name__ == "__main__":
    main()
