"""Element types and block layouts of tensors, each with its code in our file format.

A code, once given, is never used again for anything else; 0 means bytes of no dtype.

    1 F64    2 F32    3 F16    4 BF16    5 F8_E4M3    6 F8_E5M2
    7 I8     8 U8     9 I16   10 U16    11 I32       12 U32
   13 I64   14 U64   15 BOOL  16 I4
   17 F8_E4M3FNUZ   18 F8_E5M2FNUZ   19 F8_E8M0 (powers of two, for scales)
   20 F4 (e2m1)     21 F6_E2M3       22 F6_E3M2        23 C64 (two F32)
   32 Q4_0  33 Q4_1  34 Q5_0  35 Q5_1   36 Q8_0      37 Q4_K   38 Q5_K   39 Q6_K
"""

from __future__ import annotations

from enum import Enum


class Dtype(Enum):
    """How elements lie in bytes. ``Dtype(code)`` finds one by its code; all are little-endian.

    ``block_elements`` elements share ``block_bytes`` bytes: one element in most, two in I4
    and F4, four in F6, and the blocks of ggml (scales and all) from Q4_0 on.
    """

    block_elements: int
    block_bytes: int

    def __new__(cls, code: int, block_elements: int, block_bytes: int) -> Dtype:  # noqa: PYI034, Self is 3.11
        member = object.__new__(cls)
        member._value_ = code
        member.block_elements = block_elements
        member.block_bytes = block_bytes
        return member

    F64 = 1, 1, 8
    F32 = 2, 1, 4
    F16 = 3, 1, 2
    BF16 = 4, 1, 2
    F8_E4M3 = 5, 1, 1
    F8_E5M2 = 6, 1, 1
    I8 = 7, 1, 1
    U8 = 8, 1, 1
    I16 = 9, 1, 2
    U16 = 10, 1, 2
    I32 = 11, 1, 4
    U32 = 12, 1, 4
    I64 = 13, 1, 8
    U64 = 14, 1, 8
    BOOL = 15, 1, 1
    I4 = 16, 2, 1
    F8_E4M3FNUZ = 17, 1, 1
    F8_E5M2FNUZ = 18, 1, 1
    F8_E8M0 = 19, 1, 1
    F4 = 20, 2, 1
    F6_E2M3 = 21, 4, 3
    F6_E3M2 = 22, 4, 3
    C64 = 23, 1, 8
    Q4_0 = 32, 32, 18
    Q4_1 = 33, 32, 20
    Q5_0 = 34, 32, 22
    Q5_1 = 35, 32, 24
    Q8_0 = 36, 32, 34
    Q4_K = 37, 256, 144
    Q5_K = 38, 256, 176
    Q6_K = 39, 256, 210

    def size(self, elements: int) -> int:
        """Bytes of that many elements; a block that is begun counts whole."""
        return -(-elements // self.block_elements) * self.block_bytes
