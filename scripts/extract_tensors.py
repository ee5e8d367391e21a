"""Tensors alone: python scripts/extract_tensors.py IN OUT.safetensors [--dtype DTYPE]...

Without a DTYPE (F32, BF16, I8 and so on, as in nncodec/tensors/dtypes.py) all that safetensors
knows are taken, in the order of the file. For measurements without headers, tables and biases.
"""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path

from nncodec.files import write_atomically
from nncodec.tensors import safetensors
from nncodec.tensors.spans import Span, read_container

NAMES = {dtype: name for name, dtype in safetensors.DTYPES.items()}


def pack(data: bytes, spans: list[Span]) -> bytes:
    """A safetensors file of ``spans`` of ``data``, one after the other."""
    header, at = {}, 0
    for span in spans:
        size = span.end - span.begin
        header[span.name] = {
            "dtype": NAMES[span.dtype],
            "shape": list(span.shape),
            "data_offsets": [at, at + size],
        }
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data[s.begin : s.end] for s in spans)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--dtype", action="append", choices=sorted(safetensors.DTYPES), default=[])
    arguments = parser.parse_args()
    data = arguments.source.read_bytes()
    wanted = set(arguments.dtype or safetensors.DTYPES)
    spans = [s for s in read_container(memoryview(data)) if NAMES.get(s.dtype) in wanted]
    if not spans:
        parser.error(f"{arguments.source} has no tensors of {', '.join(sorted(wanted))}")
    write_atomically(arguments.target, pack(data, spans))
    elements = sum(span.elements for span in spans)
    print(f"{len(spans)} tensors, {elements} elements: {arguments.target}")


if __name__ == "__main__":
    main()
