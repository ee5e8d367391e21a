"""What damaged archives give: python scripts/measure_damage.py --csv docs/results/damage.csv

Damages small archives of every kind (those of tests/fuzz, exhaustively) and the golden ones that
need nothing beside them (``--golden FOLDER``; each for ``--seconds`` of processor time, a random
sample of what there is, the same each time): every prefix, every bit flipped, every bit of the
header flipped under a header checksum made right again, every length of the header replaced by
absurd ones, every checksum and id replaced, pieces of other archives spliced in. Each is decoded in
a process of its own memory limit, and must give an error of ours or the original bytes. For Linux.

An archive that is cut behind a whole frame that was concatenated is a whole archive: that counts as
the same bytes. So does slack: the last byte of a payload may hold bits that decide nothing.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "fuzz")]

from archive_fields import Field, fields_of  # noqa: E402

import nncodec  # noqa: E402
from nncodec.container import header_checksum  # noqa: E402
from nncodec.errors import NNCodecError  # noqa: E402
from nncodec.tables import write_rows  # noqa: E402

MEMORY = 4 << 30  # bytes of address space that a decoder may have; tables are mapped, not touched
SPLICES = 1000  # an archive
MOST_SAMPLED = 3000  # of a way to damage a golden archive
ABSURD = (0, 1, 127, 128, (1 << 14) - 1, 1 << 24, (1 << 24) + 1, (1 << 31) - 1, 1 << 32, 1 << 60,
          (1 << 63) - 1)  # fmt: skip
ERROR, SAME, WRONG, OTHER, CRASH = "error", "same bytes", "WRONG BYTES", "other exception", "crash"
OUTCOMES = (ERROR, SAME, WRONG, OTHER, CRASH)

Decode = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Subject:
    """An archive that is damaged, and what it holds."""

    name: str
    kind: str
    archive: bytes
    original: bytes
    decode: Decode
    seconds: float | None = None  # None: all of it


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def with_field(archive: bytes, field: Field, value: bytes, repair: bool = True) -> bytes:
    """The archive with other bytes in a header's field, and the header's checksum made right."""
    edited = archive[: field.begin] + value + archive[field.end :]
    end = field.header_end + len(edited) - len(archive) - 4
    if not repair:
        return edited
    checksum = header_checksum(edited[field.frame_begin : end])
    return edited[:end] + checksum + edited[end + 4 :]


def flipped(archive: bytes, at: int, bit: int) -> bytes:
    return archive[:at] + bytes((archive[at] ^ 1 << bit,)) + archive[at + 1 :]


def prefixes(subject: Subject, _others: list[bytes]) -> Iterator[bytes]:
    for size in range(len(subject.archive)):
        yield subject.archive[:size]


def flips(subject: Subject, _others: list[bytes]) -> Iterator[bytes]:
    for at in range(len(subject.archive)):
        for bit in range(8):
            yield flipped(subject.archive, at, bit)


def repaired_flips(subject: Subject, _others: list[bytes]) -> Iterator[bytes]:
    archive = subject.archive
    for field in fields_of(archive):
        if field.what == "header checksum":
            continue
        for at in range(field.begin, field.end):
            for bit in range(8):
                value = flipped(archive, at, bit)[field.begin : field.end]
                yield with_field(archive, field, value)


def lengths(subject: Subject, _others: list[bytes]) -> Iterator[bytes]:
    for field in fields_of(subject.archive):
        if field.what == "varint":
            now = subject.archive[field.begin : field.end]
            for value in ABSURD:
                if varint(value) != now:
                    yield with_field(subject.archive, field, varint(value))


def checksums(subject: Subject, _others: list[bytes]) -> Iterator[bytes]:
    """Also the ids of models and bases: another hash, under a header checksum that is right."""
    rng = random.Random(len(subject.archive))
    for field in fields_of(subject.archive):
        if field.what in ("block checksum", "header checksum", "id"):
            size = field.end - field.begin
            for value in (bytes(size), b"\xff" * size, *(rng.randbytes(size) for _ in range(20))):
                repair = field.what != "header checksum"
                yield with_field(subject.archive, field, value, repair)


def splices(subject: Subject, others: list[bytes]) -> Iterator[bytes]:
    rng, archive = random.Random(f"splices {len(subject.archive)}"), subject.archive
    for _ in range(SPLICES):
        other = rng.choice(others)
        begin, end = sorted(rng.randrange(len(archive) + 1) for _ in range(2))
        a, b = sorted(rng.randrange(len(other) + 1) for _ in range(2))
        way = rng.randrange(3)
        if way == 0:  # the tail of another one
            yield archive[:begin] + other[min(begin, len(other)) :]
        elif way == 1:
            yield archive[:begin] + other[a:b] + archive[end:]
        else:  # as many bytes, so that what follows stays where it was
            yield archive[:begin] + other[a : a + end - begin] + archive[end:]


WAYS: dict[str, Callable[[Subject, list[bytes]], Iterator[bytes]]] = {
    "prefixes": prefixes,
    "flips": flips,
    "flips, header checksum right": repaired_flips,
    "absurd lengths": lengths,
    "checksums and ids": checksums,
    "splices": splices,
}


def outcome(subject: Subject, damaged: bytes) -> str:
    try:
        result = subject.decode(damaged)
    except NNCodecError as error:
        return ERROR if "\n" not in str(error) else OTHER
    except Exception:
        return OTHER
    whole = len(damaged) < len(subject.archive) and subject.archive.startswith(damaged)
    if whole and result and subject.original.startswith(result):
        return SAME  # concatenated archives, cut between two of them
    return SAME if result == subject.original else WRONG


def run(subject: Subject, way: str, others: list[bytes]) -> tuple[Counter[str], int, int]:
    """Outcomes, how many cases there are, and the bytes that decoding took at most."""
    total = sum(1 for _ in WAYS[way](subject, others))
    most = total if subject.seconds is None else min(total, MOST_SAMPLED)
    kept = set(random.Random(7).sample(range(total), most))
    cases = [case for i, case in enumerate(WAYS[way](subject, others)) if i in kept]
    cases = list(dict.fromkeys(cases))
    whole = {*others, *(one + two for one in others for two in others)}  # not damaged at all
    cases = [case for case in cases if case not in whole]
    total = total if most < total else len(cases)
    if subject.seconds is not None:
        random.Random(7).shuffle(cases)
    counts: Counter[str] = Counter()
    peak, at = 0, 0
    while at < len(cases):
        at, part, rss, died = in_a_process(subject, cases, at)
        counts += part
        peak = max(peak, rss)
        if died is None:
            break
        counts[CRASH] += 1
        print(f"{subject.name}: {way}: signal {died} for {cases[at].hex()}", file=sys.stderr)
        at += 1
    return counts, total, peak


def in_a_process(
    subject: Subject, cases: list[bytes], begin: int
) -> tuple[int, Counter[str], int, int | None]:
    """Decode ``cases`` in a child; where it is, outcomes, peak, and the signal that it died of."""
    board = mmap.mmap(-1, 1 << 12)
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        counts: Counter[str] = Counter()
        started, before = time.process_time(), memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        for at in range(begin, len(cases)):
            result = outcome(subject, cases[at])
            if result in (WRONG, OTHER):
                print(f"{subject.name}: {result} for {cases[at].hex()[:4000]}", file=sys.stderr)
            counts[result] += 1
            state = json.dumps([at + 1, counts, memory("VmHWM") - before]).encode()
            board[: len(state) + 1] = state + b"\0"
            if subject.seconds and time.process_time() - started > subject.seconds:
                break
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    state = board[:].split(b"\0")[0]
    at, done, peak = json.loads(state) if state else (begin, {}, 0)
    died = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    if not died and os.WEXITSTATUS(status):
        died = signal.SIGABRT
    return at, Counter(done), peak, died


def memory(name: str) -> int:
    """Bytes, by /proc/self/status."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))


def small_subjects() -> Iterator[Subject]:
    """One archive of every kind of block, a few hundred bytes long at most."""
    import forged
    import fuzz_container
    import fuzz_model

    coders = fuzz_model.coders()
    for archive, original in (*fuzz_container.whole(), *fuzz_model.whole()):

        def decode(damaged: bytes) -> bytes:
            return forged.decode(damaged, coders, None)

        assert decode(archive) == original
        yield Subject(f"small {kinds(archive)}", kinds(archive), archive, original, decode)


def golden_subjects(folder: Path, seconds: float) -> Iterator[Subject]:
    def decode(damaged: bytes) -> bytes:
        return nncodec.decompress(damaged, threads=1)

    for path in sorted(folder.glob("*.nnc")):
        archive = path.read_bytes()
        try:
            original = decode(archive)
        except NNCodecError as error:
            print(f"{path.name} left out: {error}", file=sys.stderr)
            continue
        yield Subject(path.stem, kinds(archive), archive, original, decode, seconds)


def kinds(archive: bytes) -> str:
    return " ".join(sorted(nncodec.info(archive).blocks)) or "empty"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--golden", type=Path, default=ROOT / "tests" / "golden")
    parser.add_argument("--seconds", type=float, default=5, help="for a golden archive and a way")
    parser.add_argument("--csv", type=Path, required=True)
    args = parser.parse_args()
    subjects = [*small_subjects(), *golden_subjects(args.golden, args.seconds)]
    others = [subject.archive for subject in subjects]
    rows = []
    for subject in subjects:
        for way in WAYS:
            counts, cases, peak = run(subject, way, others)
            row: dict[str, object] = {
                "archive": subject.name, "blocks": subject.kind,
                "archive_bytes": len(subject.archive), "bytes": len(subject.original),
                "damage": way, "cases": cases, "run": sum(counts.values()),
            }  # fmt: skip
            row |= {name.lower().replace(" ", "_"): counts[name] for name in OUTCOMES}
            rows.append(row | {"resident_mib": peak >> 20})
        write_rows(args.csv, rows)
    bad = sum(
        int(str(row[name])) for row in rows for name in ("wrong_bytes", "other_exception", "crash")
    )
    print(f"{sum(int(str(row['run'])) for row in rows)} damaged archives, {bad} finds")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
