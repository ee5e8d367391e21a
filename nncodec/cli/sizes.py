"""Sizes and ranges of bytes as options take them: 64K is 65536."""

from __future__ import annotations

import re

import typer

from nncodec.blocks import check_block_size
from nncodec.errors import NNCodecError

UNITS = {"": 0, "K": 10, "M": 20, "G": 30}
SIZE = r"([0-9]{1,18})([KMG]?)"


def parse_size(text: str | None, option: str) -> int | None:
    """Bytes. Raises typer.BadParameter, which names the option."""
    if text is None:
        return None
    match = re.fullmatch(SIZE, text, re.IGNORECASE)
    if not match:
        raise typer.BadParameter(
            f"{option} takes a size in bytes, or with K, M or G (1024, ...), not {text!r}"
        )
    return size_of(match[1], match[2])


def parse_block_size(text: str | None) -> int | None:
    """Bytes. Raises typer.BadParameter."""
    size = parse_size(text, "--block-size")
    try:
        check_block_size(size)
    except NNCodecError as error:
        raise typer.BadParameter(f"--block-size: {error}") from None
    return size


def parse_range(span: str | None) -> tuple[int, int | None]:
    """``A:B``, ``A:`` or ``:B``. Raises typer.BadParameter for anything else."""
    if span is None:
        return 0, None
    match = re.fullmatch(f"(?:{SIZE})?:(?:{SIZE})?", span, re.IGNORECASE)
    if not match:
        raise typer.BadParameter(
            f"--range takes A:B, two positions in bytes or with K, M or G, not {span!r}"
        )
    begin = size_of(match[1], match[2]) if match[1] else 0
    end = size_of(match[3], match[4]) if match[3] else None
    if end is not None and begin > end:
        raise typer.BadParameter(f"--range {span} ends before it begins")
    return begin, end


def size_of(number: str, unit: str) -> int:
    return int(number) << UNITS[unit.upper()]
