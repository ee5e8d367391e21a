"""What decoding may cost at most: bytes of output, and bytes of memory.

An archive says what it needs before anything is decoded, so what is too much is refused by its
header. Both limits are the user's; without them an archive decodes as large as it says, in memory
that the format bounds (docs/streams.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from nncodec.container import Block, Kind
from nncodec.errors import LimitError

TABLE_LINE = 64  # bytes of a line of the context mixer's table
MIXER_BYTES = 1 << 24  # of its other tables, whose sizes are fixed: csrc/context_mixer.cc


@dataclass(frozen=True)
class Limits:
    """None: no limit. Sizes in bytes; ``max_memory`` bounds what decoding one block takes."""

    max_output_size: int | None = None
    max_memory: int | None = None

    def check_output(self, size: int) -> None:
        """Raises LimitError if ``size`` bytes in all are more than are allowed."""
        if self.max_output_size is not None and size > self.max_output_size:
            raise LimitError(
                f"output would exceed max_output_size: {size} bytes, {self.max_output_size} "
                "allowed; raise it (--max-output) if you trust the archive"
            )

    def check_memory(self, row: Block, state_bytes: int = 0) -> None:
        """Raises LimitError if decoding the block needs more memory than is allowed."""
        if self.max_memory is None:
            return
        needed = decoding_memory(row, state_bytes)
        if needed > self.max_memory:
            raise LimitError(
                f"a block would need more than max_memory: {needed} bytes to decode, "
                f"{self.max_memory} allowed; raise it (--memory) if you trust the archive"
            )


NO_LIMITS = Limits()


def decoding_memory(row: Block, state_bytes: int = 0) -> int:
    """Bytes that decoding a block takes besides the model's weights.

    Its payload and its own bytes; unless these are stored or constant, what the coder holds of them
    until they are complete, and what a transform is undone from. The context mixer's table,
    ``64 << table_bits``, and what it has besides. Of every lane ``state_bytes``, the keys and
    values that the model's engine keeps, which its configuration tells (0 without a model). Blocks
    of tensors mixed by contexts and of deltas: four times their bytes (planes, copies, the base's)
    and tables of a fixed size, an upper bound of what was measured.
    """
    if row.kind in (Kind.TENSORS, Kind.DELTA):
        return row.payload_size + 4 * row.size + MIXER_BYTES
    needed = row.payload_size + row.size
    if row.kind not in (Kind.STORED, Kind.CONSTANT):
        needed += row.coded_size
    if row.geometry.table_bits:
        needed += (TABLE_LINE << row.geometry.table_bits) + MIXER_BYTES
    return needed + row.geometry.lanes * state_bytes
