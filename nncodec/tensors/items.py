"""What a chunk of tensors holds, as the coder sees it: matrices of one dtype each."""

from __future__ import annotations

from dataclasses import dataclass

from nncodec.tensors.dtypes import Dtype

# Dtypes with a model of their own; the rest of a file takes the way of all bytes.
MODELLED = frozenset(
    Dtype[name]
    for name in (
        *("F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I8", "U8", "I16"),
        *("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"),
    )
)
# Dtypes of the same fields as one of those, so that its model does: biases and NaN may differ.
ALIKE = {
    Dtype.F8_E4M3FNUZ: Dtype.F8_E4M3,
    Dtype.F8_E5M2FNUZ: Dtype.F8_E5M2,
    Dtype.F8_E8M0: Dtype.U8,
}
# Those that the fast coder cuts into fields.
FIELDS = frozenset(Dtype[n] for n in ("F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I8", "U8"))
CODES: dict[int, Dtype | None] = {0: None, **{dtype.value: dtype for dtype in MODELLED}}


@dataclass(frozen=True, slots=True)  # a header of megabytes may list millions
class Item:
    """``rows`` times ``cols`` elements, or blocks of a block format, a row after the other.

    ``dtype`` is one of ``MODELLED``, or None for bytes between tensors. ``role`` (0 to 255) is
    equal for tensors of one use, such as the same layer's of every block.
    """

    dtype: Dtype | None
    role: int
    rows: int
    cols: int

    @property
    def code(self) -> int:
        """Of the dtype, in the format; 0 for none."""
        return self.dtype.value if self.dtype else 0

    @property
    def size(self) -> int:
        """In bytes."""
        return self.rows * self.cols * (self.dtype.block_bytes if self.dtype else 1)


def with_fields(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """The same bytes as items of the fast coder, which takes all but ``FIELDS`` as bytes."""
    return tuple(i if i.dtype in FIELDS else Item(None, i.role, 1, i.size) for i in items)


def model_of(dtype: Dtype) -> Dtype | None:
    """The dtype as which elements of ``dtype`` are coded; None if they are bytes."""
    dtype = ALIKE.get(dtype, dtype)
    return dtype if dtype in MODELLED else None


def dtype_of(code: int) -> Dtype | None:
    """Inverse of ``Item.code``. Raises ValueError for a code that no item has."""
    if code not in CODES:
        raise ValueError(f"no item has the dtype {code}")
    return CODES[code]
