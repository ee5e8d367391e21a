"""Small files of tensors for corpora/weights, which ``make_samples.py`` writes: see there.

``layer.safetensors`` has what models have: rows and columns of a size each, rows that come again
(some with other signs), float32 that was narrower once, zeros, scales times integers. Of
``tuned.safetensors``, its fine-tune, some tensors are equal, some moved along one direction, some
at random. ``codes.safetensors`` has integers that are codes: of four bits, two a byte, and of a
trellis. ``layer.gguf`` has every block format. Integers throughout: a float is an integer times a
power of two, which ``struct`` rounds the same everywhere.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator

Matrix = list[list[int]]
Tensor = tuple[str, str, list[int], bytes]  # name, dtype, shape, bytes
SHIFT = 26  # of the integers of matrices, as binary places
LOW, PARITY = (0, 0, 2, 5), (0, 0, 1, 2)  # trellises of 4 and 8 states
GGML_TYPES = {"F32": 0, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8}
GGML_TYPES |= {"Q4_K": 12, "Q5_K": 13, "Q6_K": 14}


def bell(rng: random.Random) -> int:
    """About normal: 0, give or take 150."""
    return sum(rng.randrange(-128, 129) for _ in range(4))


def matrix(rng: random.Random, rows: int, cols: int) -> Matrix:
    down, across = ([rng.randrange(16, 256) for _ in range(n)] for n in (rows, cols))
    return [[bell(rng) * r * c for c in across] for r in down]


def single(value: int, shift: int = SHIFT) -> bytes:
    return struct.pack("<f", value * 2.0**-shift)


def half(value: int, shift: int = SHIFT) -> bytes:
    return struct.pack("<e", value * 2.0**-shift)


def brain(value: int, shift: int = SHIFT) -> bytes:
    """bfloat16: float32's upper half, to the nearest."""
    bits = int.from_bytes(single(value, shift), "little")
    return (bits + 0x7FFF + (bits >> 16 & 1) >> 16).to_bytes(2, "little")


def byte_float(value: int, exponent: int, mantissa: int) -> bytes:
    """A float of eight bits, cut off: 2^-7 becomes its middle binade."""
    bits = int.from_bytes(single(value), "little")
    e = max(0, min((1 << exponent) - 2, (bits >> 23 & 255) - 120 + (1 << exponent - 1)))
    return bytes([bits >> 31 << 7 | e << mantissa | bits >> 23 - mantissa & (1 << mantissa) - 1])


def integer(value: int) -> int:
    return max(-128, min(127, value >> 14))


def e4m3(value: int) -> bytes:
    return byte_float(value, 4, 3)


def e5m2(value: int) -> bytes:
    return byte_float(value, 5, 2)


def int8(value: int) -> bytes:
    return struct.pack("<b", integer(value))


def uint8(value: int) -> bytes:
    return bytes([integer(value) + 128])


def raw(value: int) -> bytes:
    return bytes([value & 255])


def int16(value: int) -> bytes:
    return struct.pack("<h", max(-32768, min(32767, value >> 9)))


def tensor(name: str, dtype: str, values: Matrix, as_bytes: Callable[[int], bytes]) -> Tensor:
    data = b"".join(as_bytes(value) for row in values for value in row)
    return name, dtype, [len(values), len(values[0])], data


def narrowed(values: Matrix) -> Matrix:
    """A third as bfloat16 holds them, a third as float16, the rest as they are."""

    def cut(value: int, bits: int) -> int:
        lost = max(0, abs(value).bit_length() - bits)
        return value >> lost << lost

    third = len(values) // 3
    kept = [8] * third + [11] * third + [64] * (len(values) - 2 * third)
    return [[cut(v, bits) for v in row] for row, bits in zip(values, kept, strict=True)]


def mirrored(rng: random.Random, values: Matrix) -> Matrix:
    """Pairs of rows of another matrix: some as they were, some with other signs, some new."""
    out = []
    for i, row in enumerate(values):
        if i // 2 % 4 == 1:
            row = [value * rng.choice((1, 1, 1, -1)) for value in row]
        elif i // 2 % 4 == 2:
            row = [bell(rng) * 4096 for _ in row]
        out.append(list(row))
    return out


def sparse(rng: random.Random, values: Matrix) -> Matrix:
    return [[value * (rng.randrange(3) == 0) for value in row] for row in values]


def grid(rng: random.Random, rows: int, cols: int, group: int, most: int) -> Matrix:
    """Scales of up to nine bits times integers."""
    out = []
    for _ in range(rows):
        row: list[int] = []
        for _ in range(cols // group):
            codes = [max(-most, min(most, bell(rng) * most // 300)) for _ in range(group)]
            codes[rng.randrange(group)] = most
            scale = rng.randrange(257, 512, 2)
            row += [code * scale for code in codes]
        out.append(row)
    return out


def layer() -> list[tuple[str, str, Matrix, Callable[[int], bytes]]]:
    """The tensors of a layer, as integers."""
    rng = random.Random("layer")
    embed = matrix(rng, 36, 64)
    embed[5], embed[6] = [0] * 64, [value << 9 for value in embed[6]]
    embed[7][:8] = [value >> 18 for value in embed[7][:8]]
    query = matrix(rng, 16, 64)
    norm = [[(1 << SHIFT) + (bell(rng) << 12) * (i % 3 == 0) for i in range(64)]]
    return [
        ("layers.0.norm", "F32", norm, single),
        ("embed", "BF16", embed, brain),
        ("layers.0.q", "BF16", query, brain),
        ("layers.1.q", "BF16", mirrored(rng, query), brain),
        ("layers.0.up", "F32", matrix(rng, 16, 40), single),
        ("layers.0.down", "F32", narrowed(matrix(rng, 24, 32)), single),
        ("layers.0.gate", "F16", matrix(rng, 24, 32), half),
        ("layers.0.pruned", "BF16", sparse(rng, matrix(rng, 16, 64)), brain),
        ("layers.0.grid", "F32", grid(rng, 8, 64, 64, 127), single),
        ("layers.0.wide_grid", "F16", grid(rng, 8, 64, 32, 200), half),
        ("layers.0.group_grid", "BF16", grid(rng, 6, 64, 32, 60), brain),
        ("layers.0.i8", "I8", matrix(rng, 16, 64), int8),
        ("layers.0.u8", "U8", matrix(rng, 16, 64), uint8),
        ("layers.0.noise", "U8", [[rng.getrandbits(8) for _ in range(64)] for _ in range(4)], raw),
        ("layers.0.i16", "I16", matrix(rng, 8, 64), int16),
        ("layers.0.e4m3", "F8_E4M3", matrix(rng, 8, 64), e4m3),
        ("layers.0.e5m2", "F8_E5M2", matrix(rng, 8, 64), e5m2),
    ]


def layer_file(_rng: random.Random) -> bytes:
    return safetensors([tensor(*each) for each in layer()])


def tuned_file(rng: random.Random) -> bytes:
    """The fine-tune of ``layer_file``."""
    equal = {"layers.0.norm", "layers.0.noise", "layers.0.wide_grid", "layers.0.i16", "layers.1.q"}
    scattered = {"layers.0.up", "layers.0.e4m3", "layers.0.u8", "layers.0.pruned"}
    tensors = []
    for name, dtype, values, as_bytes in layer():
        rows, cols = len(values), len(values[0])
        down, across = ([bell(rng) for _ in range(n)] for n in (rows, cols))
        for i in range(rows if name not in equal else 0):
            for j in range(cols):
                if name not in scattered:
                    values[i][j] += (down[i] * across[j] >> 2) + bell(rng) * (i % 5 > 0)
                elif rng.randrange(4) == 0:
                    values[i][j] = -values[i][j] if i == j else values[i][j] + (bell(rng) << 8)
        tensors.append(tensor(name, dtype, values, as_bytes))
    return safetensors(tensors)


def codes_of(rng: random.Random, count: int, group: int, bits: int) -> list[int]:
    """Codes around the middle, one of each group the least."""
    middle = 1 << bits - 1
    codes = []
    for _ in range(count // group):
        around = (middle + bell(rng) * middle // 360 for _ in range(group))
        some = [max(1, min(2 * middle - 1, code)) for code in around]
        some[rng.randrange(group)] = 0
        codes += some
    return codes


def packed(codes: list[int]) -> bytes:
    return bytes(a | b << 4 for a, b in zip(codes[::2], codes[1::2], strict=True))


def twos(codes: list[int]) -> list[int]:
    """Codes of four bits as two's complement."""
    return [code ^ 8 for code in codes]


def trellis(rng: random.Random, rows: int, cols: int, log_states: int) -> Matrix:
    """Normal values by the nearest level of the quantiser that the state names."""
    out = []
    for _ in range(rows):
        state, row = 0, []
        for _ in range(cols):
            value = bell(rng)
            size = abs(value)  # a step is 75: levels 0, 150, 300... and 0, 75, 225...
            k = (size + 75) // 150 if state & 1 == 0 else (size + 112) // 150 * (size > 37)
            k = -k if value < 0 else k
            row.append(k)
            state = state >> 1 ^ (state & 1) * LOW[log_states] ^ (k & 1) * PARITY[log_states]
        out.append(row)
    return out


def codes_file(rng: random.Random) -> bytes:
    signed = [(code ^ 8) - 8 for code in twos(codes_of(rng, 512, 32, 4))]
    bytes8 = b"".join(struct.pack("<b", v) for row in trellis(rng, 64, 64, 2) for v in row)
    wide = b"".join(struct.pack("<h", v) for row in trellis(rng, 64, 64, 3) for v in row)
    return safetensors(
        [
            ("small_signed", "I8", [8, 64], struct.pack("<512b", *signed)),
            ("small", "U8", [8, 64], bytes(codes_of(rng, 512, 64, 4))),
            ("packed", "U8", [64, 64], packed(codes_of(rng, 8192, 32, 4))),
            ("packed_signed", "I8", [64, 64], packed(twos(codes_of(rng, 8192, 128, 4)))),
            ("trellis", "I8", [64, 64], bytes8),
            ("trellis_wide", "I16", [64, 64], wide),
        ]
    )


def safetensors(tensors: list[Tensor]) -> bytes:
    header, data = {}, b""
    for name, dtype, shape, raw in tensors:
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def long_file() -> bytes:
    """More than a million integers that say little: the rANS coder takes 64 lanes for them. Too
    large to be kept as a file, it is made when it is needed."""
    row = bytes((i & -i).bit_length() for i in range(1, 1025))
    rows = [row[i % 7 :] + row[: i % 7] for i in range(1040)]
    return safetensors([("long", "I8", [1040, 1024], b"".join(rows))])


def legacy(rng: random.Random, minimum: bool, fifth: bool) -> bytes:
    """32 elements: scale, maybe a minimum, maybe fifth bits, nibbles."""
    codes = codes_of(rng, 32, 32, 4 + fifth)
    out = half(rng.randrange(300, 360), 14) + (half(rng.randrange(-900, 0), 14) if minimum else b"")
    if fifth:
        out += sum((code & 1) << i for i, code in enumerate(codes)).to_bytes(4, "little")
        codes = [code >> 1 for code in codes]
    return out + bytes(codes[i] | codes[i + 16] << 4 for i in range(16))


def q8_0(rng: random.Random) -> bytes:
    codes = [max(-127, min(127, bell(rng) // 4)) for _ in range(32)]
    return half(rng.randrange(300, 360), 18) + struct.pack("<32b", *codes)


def k_block(rng: random.Random, fifth: bool) -> bytes:
    """256 elements: scale, minimum, eight scales and minima of 6 bits, fifth bits, nibbles."""
    scales, minima = ([rng.randrange(20, 64) for _ in range(8)] for _ in range(2))
    out = half(rng.randrange(300, 360), 20) + half(rng.randrange(200, 260), 20)
    out += bytes(scales[j] | scales[j + 4] >> 4 << 6 for j in range(4))
    out += bytes(minima[j] | minima[j + 4] >> 4 << 6 for j in range(4))
    out += bytes(scales[j + 4] & 15 | (minima[j + 4] & 15) << 4 for j in range(4))
    codes = codes_of(rng, 256, 32, 4)
    if fifth:
        out += rng.getrandbits(256).to_bytes(32, "little")
    return out + b"".join(
        bytes(codes[64 * g + i] | codes[64 * g + 32 + i] << 4 for i in range(32)) for g in range(4)
    )


def q6_k(rng: random.Random) -> bytes:
    low = packed(codes_of(rng, 256, 16, 4))
    scales = [rng.randrange(-60, 60) for _ in range(16)]
    high = rng.getrandbits(512).to_bytes(64, "little")
    return low + high + struct.pack("<16b", *scales) + half(rng.randrange(300, 360), 20)


def gguf_file(rng: random.Random) -> bytes:
    def blocks(count: int, block: Callable[[], bytes]) -> bytes:
        return b"".join(block() for _ in range(count))

    matrices = [
        ("q4_0", 32, lambda: legacy(rng, False, False)),
        ("q4_1", 32, lambda: legacy(rng, True, False)),
        ("q5_0", 32, lambda: legacy(rng, False, True)),
        ("q5_1", 32, lambda: legacy(rng, True, True)),
        ("q8_0", 32, lambda: q8_0(rng)),
        ("q4_k", 256, lambda: k_block(rng, False)),
        ("q5_k", 256, lambda: k_block(rng, True)),
        ("q6_k", 256, lambda: q6_k(rng)),
    ]
    norm = b"".join(single((1 << SHIFT) + (bell(rng) << 14)) for _ in range(64))
    tensors = [("norm", [64], "F32", norm)]
    for name, size, block in matrices:
        rows, cols = 4, 4 if size == 32 else 1
        tensors.append((name, [cols * size, rows], name.upper(), blocks(rows * cols, block)))
    return b"".join(gguf(tensors))


def gguf(tensors: list[tuple[str, list[int], str, bytes]]) -> Iterator[bytes]:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1)
    header += text("general.architecture") + struct.pack("<I", 8) + text("llama")
    at = 0
    for name, dims, kind, data in tensors:
        header += text(name) + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
        header += struct.pack("<IQ", GGML_TYPES[kind], at)
        at += len(data) + -len(data) % 32
    yield header + bytes(-len(header) % 32)
    for *_, data in tensors:
        yield data + bytes(-len(data) % 32)


WEIGHTS = {
    "layer.safetensors": layer_file,
    "tuned.safetensors": tuned_file,
    "codes.safetensors": codes_file,
    "layer.gguf": gguf_file,
}
