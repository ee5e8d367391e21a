"""Runs a target with atheris: ``python run.py container CORPUS -max_total_time=3600``.

nncodec and the targets are instrumented; these know nothing of the fuzzer, so that tests call
them, too.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main() -> None:
    import atheris

    name, *options = sys.argv[1:]
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parent)]
    with atheris.instrument_imports(
        include=["nncodec", f"fuzz_{name}", "fuzz_model", "forged", "fields"]
    ):
        target = importlib.import_module(f"fuzz_{name}")
    corpus = next((Path(o) for o in options if not o.startswith("-")), None)
    if corpus:
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(target.seeds()):
            (corpus / f"seed{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *options], target.TestOneInput)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
