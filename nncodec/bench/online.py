"""The codec ``online``: a network trained from scratch while it codes, and context models.

It has a code length and no archive (``lm/online.py`` says why), so there is one direction. Nothing
is pretrained: its bytes are the honest total of nncodec's design, the program not counted.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nncodec.bench.codecs import AbsentError, Probe
from nncodec.bench.worker import InMemory
from nncodec.errors import BenchError
from nncodec.lm.online_plan import (
    DEFAULT_PARAMETERS,
    LEAST_PARAMETERS,
    MOST_PARAMETERS,
    plan_for,
)

if TYPE_CHECKING:
    from nncodec.bench.specs import Settings
    from nncodec.bench.worker import Job

FORM = "online[:network][:seed=N][:parameters=N]"
NETWORK = "network"  # without context models
MOST_DIGITS = 9


@dataclass(frozen=True)
class OnlineCodec:
    network_alone: bool
    seed: int
    parameters: int  # at most so many, tables of n-grams not counted
    threads: str = "1"  # more would change sums of floats, and with them the length
    archives: bool = False

    @property
    def spec(self) -> str:
        parts = [
            "online",
            *([NETWORK] if self.network_alone else []),
            *([f"seed={self.seed}"] if self.seed else []),
            *([f"parameters={self.parameters}"] if self.parameters != DEFAULT_PARAMETERS else []),
        ]
        return ":".join(parts)

    def probe(self) -> Probe:
        if importlib.util.find_spec("torch") is None:
            raise AbsentError("no package torch: install it with pip install 'nncodec-lm[train]'")
        return Probe(f"torch {importlib.import_module('importlib.metadata').version('torch')}")

    def job(self, direction: str) -> Mapping[str, Any]:
        return {
            "module": "nncodec.bench.online",
            "lean": False,
            "network_alone": self.network_alone,
            "seed": self.seed,
            "parameters": self.parameters,
        }


def parse(options: str, _settings: Settings) -> OnlineCodec:
    """``[network][:seed=N][:parameters=N]``, in any order. Raises BenchError."""
    alone, chosen = False, {"seed": 0, "parameters": DEFAULT_PARAMETERS}
    for word in options.split(":") if options else ():
        found = re.fullmatch(rf"(seed|parameters)=([0-9]{{1,{MOST_DIGITS}}})", word)
        if found:
            chosen[found[1]] = int(found[2])
        elif word == NETWORK:
            alone = True
        else:
            raise BenchError(f"online:{options}: no option {word!r}; write {FORM}")
    parameters = chosen["parameters"]
    if not LEAST_PARAMETERS <= parameters <= MOST_PARAMETERS:
        raise BenchError(
            f"online:{options}: parameters must lie in {LEAST_PARAMETERS}..{MOST_PARAMETERS}"
        )
    return OnlineCodec(alone, chosen["seed"], parameters)


def open_run(job: Job) -> InMemory:
    """In the child process."""
    import numpy as np  # here, as torch: the parent may do without
    import torch

    from nncodec.lm.online import online_code_length

    torch.set_num_threads(1)

    def code_length(data: bytes) -> float:
        plan = plan_for(len(data), job["seed"], job["parameters"], job["network_alone"])
        return 8.0 * len(online_code_length(np.frombuffer(data, np.uint8), plan).payload)

    return InMemory(code_length, job)
