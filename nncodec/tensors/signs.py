"""Signs of a tensor's elements, and contexts of sizes: the readable twin of csrc/tensor_signs.h."""

from __future__ import annotations

from nncodec.tensors.nibbles import BitCoder, Stage, hashed
from nncodec.tensors.parts import Around, Cut, Place, match_context


class SignModel:
    def __init__(self) -> None:
        self.stage = Stage((0, 8, 6, 12, 14, 12, 12, 14, 6, 10, 12, 12, 12, 12, 10))

    def code(
        self, coder: BitCoder, c: Cut, known: int, p: Place, a: Around, role: int, same: bool
    ) -> int:
        """The sign of ``c``, all else of which is coded. ``same``: that is as the match expects."""
        means, s, left, up = p.sign_means, c.symbol, a.left, a.up
        signs = left.sign | up.sign << 1 | a.left2.sign << 2 | a.left3.sign << 3
        self.stage.select(
            (
                0,
                role,
                means,
                means << 4 | s,
                hashed(p.column, role),
                signs << 4 | s,
                signs << 5 | means,
                hashed(left.value, up.value, s),
                2 + p.bucket * 2 + p.expected.sign if same else 0,
                role * 32 + means,
                s << 8 | role,
                hashed(c.exponent, c.mantissa, role),
                hashed(left.value, s),
                hashed(up.value, s),
                p.scale,
            )
        )
        return self.stage.code(coder, known, 1, p.bucket if same else 0, means)


def size_contexts(p: Place, a: Around, role: int, expected: int) -> tuple[int, ...]:
    """What floats and integers have in common: contexts 1 to 14 of an element's size."""
    left, left2, s = a.left, a.left2, p.scale
    l1, l2, u = left.symbol, left2.symbol, a.up.symbol
    return (
        role,
        s,
        p.row_scale,
        p.column_scale,
        (s >> 1) * 16 + l1,
        (l1 * 16 + u) * 16 + l2,
        hashed(p.column, role),
        hashed(left.value, left2.value),
        (s >> 1) * 8 + p.trend,
        (p.row_scale >> 2) * 128 + (p.column_scale >> 2),
        hashed(left.value, a.up.value),
        match_context(p, expected),
        (u * 16 + a.up_left.symbol) * 16 + a.up_right.symbol,
        (s >> 3) * 16 + (l1 + l2 + a.left3.symbol) // 3,
    )
