"""Generate the samples in corpora/samples and corpora/weights: same bytes on every machine.

usage: python scripts/make_samples.py [FOLDER]               (corpora, if none is given)

Only Python's integer random methods and string formatting of integers are used, whose results do
not depend on the platform. prose.txt is this project's own README and documents, frozen when it
was made, because the documents go on changing: an existing prose.txt is left as it is.
"""

from __future__ import annotations

import json
import random
import re
import struct
import sys
from pathlib import Path

from sample_weights import WEIGHTS

ROOT = Path(__file__).resolve().parent.parent
SEED = 20261122


def access_log(rng: random.Random, lines: int = 600) -> bytes:
    paths = ["/", "/index.html", "/api/v1/items", "/api/v1/items/{}", "/static/app.js", "/login"]
    agents = ["Mozilla/5.0 (X11; Linux x86_64)", "curl/8.5.0", "python-requests/2.32"]
    clock, out = 0, []
    for _ in range(lines):
        clock += rng.randrange(0, 9)
        path = rng.choice(paths).format(rng.randrange(1, 5000))
        status = rng.choice([200] * 12 + [304] * 4 + [404, 500])
        stamp = f"22/Nov/2026:{clock // 3600 % 24:02}:{clock // 60 % 60:02}:{clock % 60:02} +0000"
        host = f"10.{rng.randrange(4)}.{rng.randrange(16)}.{rng.randrange(1, 255)}"
        out.append(
            f'{host} - - [{stamp}] "GET {path} HTTP/1.1" {status} {rng.randrange(150, 90000)} "-" '
            f'"{rng.choice(agents)}"\n'
        )
    return "".join(out).encode()


def readings_csv(rng: random.Random, rows: int = 800) -> bytes:
    out, level = ["time,station,temperature_c,humidity_pct,status\n"], [180, 195, 210]
    for i in range(rows):
        station = i % 3
        level[station] += rng.randrange(-3, 4)
        whole, tenth = divmod(level[station], 10)
        state = "ok" if rng.randrange(50) else "late"
        stamp = f"2026-11-{1 + i // 288:02}T{i // 12 % 24:02}:{i % 12 * 5:02}:00Z"
        humidity = 40 + rng.randrange(30)
        out.append(f"{stamp},ST{station:02},{whole}.{tenth},{humidity},{state}\n")
    return "".join(out).encode()


def events_json(rng: random.Random, records: int = 220) -> bytes:
    kinds = ["created", "updated", "deleted", "viewed"]
    rows = [
        {
            "id": 100000 + i * 7,
            "kind": rng.choice(kinds),
            "user": {"name": f"user{rng.randrange(40)}", "admin": rng.randrange(9) == 0},
            "tags": rng.sample(["red", "green", "blue", "new", "sale"], rng.randrange(4)),
            "amount": rng.randrange(100, 99999),
        }
        for i in range(records)
    ]
    return (json.dumps(rows, indent=1) + "\n").encode()


def table_bin(rng: random.Random, rows: int = 1500) -> bytes:
    """Records of 16 bytes: u32 id, i16 x 2 slow walks, u64 that mixes a counter and noise."""
    x = y = 0
    out = []
    for i in range(rows):
        x = max(-30000, min(30000, x + rng.randrange(-40, 41)))
        y = max(-30000, min(30000, y + rng.randrange(-5, 6)))
        out.append(struct.pack("<IhhQ", i, x, y, i * 1000 + rng.randrange(256)))
    return b"".join(out)


def notes_json(rng: random.Random, records: int = 180) -> bytes:
    """Words in Greek, Thai and emoji, as a writer that sticks to ASCII escapes them."""
    scripts = [range(0x3B1, 0x3CA), range(0xE01, 0xE2F), range(0x1F600, 0x1F640)]
    words = [
        "".join(chr(rng.choice(script)) for _ in range(rng.randrange(2, 9)))
        for script in scripts
        for _ in range(40)
    ]
    rows = [
        {"id": i, "text": " ".join(rng.choice(words) for _ in range(rng.randrange(3, 12)))}
        for i in range(records)
    ]
    return (json.dumps(rows, indent=1) + "\n").encode()


def capitals_json(rng: random.Random) -> bytes:
    """A few records of ``notes_json``, by a writer that escapes in upper case."""
    return re.sub(rb"\\u[0-9a-f]{4}", lambda m: b"\\u" + m[0][2:].upper(), notes_json(rng, 8))


def code_bin(rng: random.Random, functions: int = 260) -> bytes:
    """What calls look like in 32-bit x86 code: a prologue, calls by distance, an epilogue."""
    body: list[bytes | int] = []  # bytes, or the number of the function that is called
    starts, at = [], 0
    for _ in range(functions):
        starts.append(at)
        piece: list[bytes | int] = [b"\x55\x89\xe5\x83\xec" + bytes([8 * rng.randrange(1, 9)])]
        for _ in range(rng.randrange(2, 7)):
            piece += [b"\x8b\x45" + bytes([8 + 4 * rng.randrange(4)]) + b"\x89\x04\x24"]
            piece += [min(rng.randrange(functions), rng.randrange(functions))]
        piece += [b"\xc9\xc3" + b"\x90" * rng.randrange(4)]
        body += piece
        at += sum(5 if isinstance(part, int) else len(part) for part in piece)
    out = b""
    for part in body:
        if isinstance(part, int):
            out += b"\xe8" + struct.pack("<i", starts[part] - len(out) - 5)
        else:
            out += part
    return out


def prose() -> bytes:
    """README and docs as one text."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return "\n\n".join(path.read_text("utf-8") for path in paths).encode()


GENERATED = {
    "access.log": access_log,
    "readings.csv": readings_csv,
    "events.json": events_json,
    "table.bin": table_bin,
    "notes.json": notes_json,
    "capitals.json": capitals_json,
    "code.bin": code_bin,
}


def write_samples(folder: Path) -> None:
    for place, generated in (("samples", GENERATED), ("weights", WEIGHTS)):
        (folder / place).mkdir(parents=True, exist_ok=True)
        for name, make in generated.items():
            (folder / place / name).write_bytes(make(random.Random(f"{SEED} {name}")))
    if not (folder / "samples" / "prose.txt").exists():
        (folder / "samples" / "prose.txt").write_bytes(prose())


if __name__ == "__main__":
    write_samples(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "corpora")
