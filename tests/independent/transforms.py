"""What undoes the transforms (FORMAT.md, "Transforms")."""

from .errors import Rejected


def undo(transform: int, coded: bytes, length: int) -> bytes:
    """The block's bytes, from its coded bytes."""
    if transform == 0:
        return coded
    block = undo_x86(coded) if transform == 1 else undo_escapes(coded, upper=transform == 3)
    if len(block) != length:
        raise Rejected("a transform gives another length than the block's")
    return block


def is_target(p: bytearray, i: int) -> bool:
    """Whether the four bytes at i are a target of the x86 transform ("Transform 1: x86")."""
    if p[i + 3] not in (0x00, 0xFF):
        return False
    return (
        p[i - 1] in (0xE8, 0xE9)
        or (i >= 2 and 0x80 <= p[i - 1] <= 0x8F and p[i - 2] == 0x0F)
        or (i >= 3 and p[i - 1] & 0xC7 == 0x05 and 0x48 <= p[i - 3] <= 0x4F)
    )


def undo_x86(coded: bytes) -> bytes:
    """Transform 1: absolute targets of x86 code become relative again."""
    p = bytearray(coded)
    for i in range(1, len(p) - 3):
        if is_target(p, i):
            v = p[i] << 16 | p[i + 1] << 8 | p[i + 2] | (p[i + 3] & 1) << 24
            w = (v - (i + 4)) % 2**25
            p[i : i + 3] = (w % 2**24).to_bytes(3, "little")
            p[i + 3] = 0xFF if w >= 2**24 else 0x00
    return bytes(p)


def undo_escapes(coded: bytes, upper: bool) -> bytes:
    """Transforms 2 and 3: code points from 80 (hex) on become escapes of JSON."""
    try:
        text = coded.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise Rejected(f"coded bytes are not UTF-8: {error}") from error
    return "".join(escape(ord(c), upper) for c in text).encode("ascii")


def escape(code: int, upper: bool) -> str:
    if code < 0x80:
        return chr(code)
    units = [code]
    if code > 0xFFFF:
        code -= 0x10000
        units = [0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF)]
    return "".join(f"\\u{unit:04X}" if upper else f"\\u{unit:04x}" for unit in units)
