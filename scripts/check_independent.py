"""Decode all golden archives with the second decoder (tests/independent) and compare.

usage: python scripts/check_independent.py [name]...

Prints a line an archive: its name, bytes, CPU seconds, and ``OK`` or what differs. Names are parts
of archives' names; without one all are decoded, which takes about ten minutes. Exits with 1 if an
archive does not decode to what tests/golden_table.py says.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from golden_table import GOLDEN, GOLDENS, Golden  # noqa: E402
from independent.decoder import decode  # noqa: E402
from independent.errors import Rejected  # noqa: E402
from independent.model_folder import finder  # noqa: E402

FIND = finder([ROOT / "models", GOLDEN / "models"])


def check(golden: Golden) -> str:
    """``OK``, or what is wrong. The archive of a float model must be refused."""
    try:
        decoded = decode(golden.path.read_bytes(), FIND, golden.base_bytes)
    except Rejected as error:
        refused = golden.way == "of_floats" and "a float model" in str(error)
        return "OK (refused)" if refused else f"rejected: {error}"
    return "OK" if decoded == golden.bytes else "DIFFERENT"


def main() -> None:
    wrong = 0
    for golden in GOLDENS:
        if sys.argv[1:] and not any(part in golden.name for part in sys.argv[1:]):
            continue
        started = time.process_time()
        verdict = check(golden)
        seconds = time.process_time() - started
        print(f"{golden.name:42} {len(golden.bytes):8} {seconds:7.1f}  {verdict}", flush=True)
        wrong += not verdict.startswith("OK")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
