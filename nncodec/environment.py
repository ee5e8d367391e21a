"""What a measurement was made on and with: a record that goes beside every figure."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import nncodec
from nncodec.engine.native import choose_isa, usable_cores

CPUINFO = Path("/proc/cpuinfo")


def environment() -> dict[str, str]:
    """Version, processor, cores, instruction set, system and Python, as text.

    ``machine`` names the computer by what decides speed, not by its host name: rows of tables
    are replaced by rows of the same machine.
    """
    cpu, cores, isa = processor(), usable_cores(), choose_isa()
    return {
        "version": nncodec.__version__,
        "machine": f"{cpu}, {cores} cores, {isa}",
        "cpu": cpu,
        "cores": str(cores),
        "memory_gb": f"{memory_bytes() / 1e9:.0f}",
        "isa": isa,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def processor() -> str:
    """Its name as the system has it; the architecture where it has none."""
    if CPUINFO.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", CPUINFO.read_text(), re.MULTILINE)
        if found:
            return " ".join(found[1].split())
    return platform.processor() or platform.machine()


def memory_bytes() -> int:
    """0 where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0
