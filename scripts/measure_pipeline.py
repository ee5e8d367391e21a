"""How fast one thread makes batches: python scripts/measure_pipeline.py CORPUS [--batch 64].

Prints 10^6 bytes of windows a second, the median over rounds of 50 batches.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from nncodec.lm.data import BatchSampler, load_domains, mix_for

STEPS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--crlf", type=float, default=0.04)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    batch, length = arguments.batch, arguments.length
    domains = load_domains(arguments.corpus)
    sampler = BatchSampler(domains, mix_for(domains), batch, length, 0, arguments.crlf)
    speeds = []
    for number in range(arguments.rounds):
        begun = time.perf_counter()
        for step in range(STEPS):
            sampler.batch(number * STEPS + step)
        speeds.append(STEPS * batch * length / (time.perf_counter() - begun) / 1e6)
    print(
        f"{batch} windows of {length}: {statistics.median(speeds):.1f} MB/s a thread "
        f"(rounds: {', '.join(f'{speed:.1f}' for speed in speeds)})"
    )


if __name__ == "__main__":
    main()
