"""Pack code, slices of the corpora and a run for training on a machine without a network.

usage: python scripts/gpu_pack.py CORPUS -o PARTS --megabytes 200 [--run RUN | --from MODEL]
       [--shape FOLDER] [--mix domain=weight,...] [--seed 0]

Writes PARTS/000, PARTS/001, ...: one part in each, to be carried in a call of its own; the first
has the index too. Documents are drawn by the seed until each domain has its share of the mix; held
out ones go along whole. CORPUS is a folder of training domains: test files have another form and
are never packed. docs/gpu.md has the calls that follow.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
from gpu_parts import INDEX, MIB, write_parts

from nncodec.errors import NNCodecError
from nncodec.lm.data import Domain, load_domains, mix_for, parse_mix

REPOSITORY = Path(__file__).resolve().parent.parent
ENTRY_POINTS = ("nncodec.lm.train", "nncodec.lm.start", "nncodec.lm.flops")
MAX_PART_MIB = 60
LEAST_MEGABYTES = 0.001
RUN_FILES = ("config.json", "train.json", "metrics.csv", "heldout.csv", "checkpoint.safetensors")


def module_file(name: str) -> Path | None:
    base = REPOSITORY / name.replace(".", "/")
    found = (path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file())
    return next(found, None)


def imports_of(path: Path) -> set[str]:
    """Names of our modules that a file imports, at any depth; attributes of modules among them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("nncodec.")}


def training_code() -> list[tuple[str, Path]]:
    """The modules that training needs, and no package file that would import the rest.

    Raises ValueError if the compiled extension is among them: it cannot be built over there.
    """
    waiting, files = set(ENTRY_POINTS), {}
    while waiting:
        name = waiting.pop()
        if name == "nncodec._core":
            raise ValueError("training imports nncodec._core, which the other machine cannot build")
        path = module_file(name)
        if path is not None and name not in files:
            files[name] = path
            parent = name.rpartition(".")[0]
            waiting |= imports_of(path) | ({parent} if parent != "nncodec" else set())
    pairs = [(f"code/{path.relative_to(REPOSITORY)}", path) for path in files.values()]
    return sorted(pairs)


def shares(sizes: dict[str, int], mix: dict[str, float], total: int) -> dict[str, int]:
    """Bytes of each domain: ``total`` in the mix's shares; small domains whole, the rest more."""
    result: dict[str, int] = {}
    names = {name for name in sizes if mix.get(name, 0) > 0}
    while names:
        unit = (total - sum(result.values())) / sum(mix[name] for name in names)
        whole = {name for name in names if sizes[name] <= unit * mix[name]}
        result |= {name: sizes[name] for name in whole}
        if not whole:
            return result | {name: int(unit * mix[name]) for name in names}
        names -= whole
    return result


def write_slice(domain: Domain, size: int, seed: int, folder: Path) -> None:
    """Documents at random, in the corpus' order, ``size`` bytes with their separators. The last
    one drawn is cut."""
    random = np.random.Generator(np.random.Philox(key=[seed, zlib.crc32(domain.name.encode())]))
    lengths: dict[int, int] = {}
    left = size
    for number in random.permutation(len(domain.offsets) - 1).tolist():
        length = int(domain.offsets[number + 1] - domain.offsets[number]) - 1
        if left < 2:
            break
        lengths[number] = min(length, left - 1)
        left -= lengths[number] + 1
    offsets = [0]
    with (folder / f"{domain.name}.bin").open("wb") as file:
        for number, length in sorted(lengths.items()):
            begin = int(domain.offsets[number])
            file.write(domain.data[begin : begin + length].tobytes() + b"\0")
            offsets.append(offsets[-1] + length + 1)
    np.array(offsets, dtype="<u8").tofile(folder / f"{domain.name}.idx")


def corpus_files(
    corpus: Path, megabytes: float, mix: str, seed: int, folder: Path
) -> list[tuple[str, Path]]:
    domains = {d.name: d for d in load_domains(corpus)}
    weights = mix_for(list(domains.values()), parse_mix(mix) if mix else None)
    sizes = {name: len(domain.data) for name, domain in domains.items()}
    for name, size in sorted(shares(sizes, weights, int(megabytes * 1e6)).items()):
        write_slice(domains[name], size, seed, folder)
        print(f"{name}: {size / 1e6:.1f} of {sizes[name] / 1e6:.1f} MB")
    paths = sorted(folder.iterdir())
    for domain in load_domains(corpus, "valid"):
        paths += [corpus / f"{domain.name}.valid{suffix}" for suffix in (".bin", ".idx")]
    return [(f"corpus/{path.name}", path) for path in paths]


def folder_files(kind: str, folder: Path | None, names: tuple[str, ...]) -> list[tuple[str, Path]]:
    """Those of a folder's files that are there; FileNotFoundError if the last one is not."""
    if folder is None:
        return []
    if not (folder / names[-1]).is_file():
        raise FileNotFoundError(f"{folder} has no {names[-1]}")
    return [(f"{kind}/{name}", folder / name) for name in names if (folder / name).is_file()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder with <domain>.bin and .idx files")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to be made")
    parser.add_argument("--megabytes", type=float, required=True, help="10^6 bytes to train on")
    parser.add_argument("--run", type=Path, help="run folder that training resumes")
    parser.add_argument("--from", dest="start", type=Path, help="model folder to begin with")
    parser.add_argument("--shape", type=Path, help="folder with the model's config.json")
    parser.add_argument("--mix", default="", help="domain=weight,...; default: the usual mix")
    parser.add_argument("--seed", type=int, default=0, help="decides which documents go along")
    parser.add_argument("--part-mib", type=float, default=56, help="size of a part, 60 at most")
    arguments = parser.parse_args()
    if arguments.run and arguments.start:
        parser.error("a run has its own weights: give --run or --from")
    if not 0 < arguments.part_mib <= MAX_PART_MIB:
        parser.error(f"--part-mib {arguments.part_mib} is not in 0..{MAX_PART_MIB}")
    try:
        pack(arguments)
    except (NNCodecError, OSError, ValueError) as error:
        sys.exit(f"gpu_pack: {error}")


def pack(arguments: argparse.Namespace) -> None:
    output: Path = arguments.output
    if arguments.megabytes < LEAST_MEGABYTES:
        raise ValueError(f"--megabytes {arguments.megabytes} is too little to train on")
    if output.exists():
        raise FileExistsError(f"{output} exists; parts of two sets must not mix: take a new folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as temporary:
        slices, parts = Path(temporary, "slices"), Path(temporary, "parts")
        slices.mkdir()
        parts.mkdir()
        files = [
            *training_code(),
            *folder_files("shape", arguments.shape, ("config.json",)),
            *folder_files("from", arguments.start, ("config.json", "model.safetensors")),
            *folder_files("run", arguments.run, RUN_FILES),
            *corpus_files(
                arguments.corpus, arguments.megabytes, arguments.mix, arguments.seed, slices
            ),
        ]
        index = write_parts(files, parts, int(arguments.part_mib * MIB), compress=True)
        for number, part in enumerate(index["parts"]):
            home = parts / f"{number:03d}"
            home.mkdir()
            (parts / part["name"]).rename(home / part["name"])
        (parts / INDEX).rename(parts / "000" / INDEX)
        parts.rename(output)
    sizes = [part["bytes"] / MIB for part in index["parts"]]
    print(f"{len(sizes)} parts, {sum(sizes):.1f} MiB, in {output}")


if __name__ == "__main__":
    main()
