"""Tables and worked values of docs/FORMAT*.md are those of the code: whoever writes a decoder from
the text alone depends on each of them."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

import nncodec
from nncodec import container, mixing, modelstore, numerics
from nncodec._core import xxh64
from nncodec.blocks import MAX_LANES, MAX_TABLE_BITS, MIN_TABLE_BITS
from nncodec.config import ModelConfig
from nncodec.container import Kind
from nncodec.engine.native import NativeEngine
from nncodec.engine_weights import expected_shapes
from nncodec.lanes import code_byte
from nncodec.tensors.items import CODES
from nncodec.transforms import Transform

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("nano", "small")


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


FORMAT, MIXER, NETWORK = map(text_of, ("FORMAT.md", "FORMAT-mixer.md", "FORMAT-network.md"))


def table(text: str, header: str) -> list[list[str]]:
    """The rows of the table whose header line begins with ``header``, cell by cell."""
    lines = text[text.index(f"\n{header}") + 1 :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"-?\d+", text)]


def test_kinds_transforms_and_dtypes() -> None:
    kinds = {int(number): name for number, name, _ in table(FORMAT, "| kind | name |")}
    assert kinds == {kind.value: kind.name.lower() for kind in Kind}
    assert f"transforms {max(Transform) + 1} to 15 are reserved" in FORMAT
    sizes: dict[int, int] = {}
    for dtypes, _, columns in table(FORMAT, "| dtype | |"):
        sizes |= dict(zip(numbers(dtypes), numbers(columns), strict=True))
    assert sizes == {code: dtype.block_bytes if dtype else 1 for code, dtype in CODES.items()}


def test_flags_and_bounds() -> None:
    flags = [int(re.findall(r"\((\d+)\)", row[0])[0], 16) for row in table(FORMAT, "| flag |")[:-1]]
    assert sum(flags) == container.FLAGS
    assert len(set(flags)) == len(flags)
    rows = {row[0]: row for row in table(FORMAT, "| field | bytes | in rows of kind |")}
    assert numbers(rows["lanes"][3])[:2] == [1, MAX_LANES]
    assert numbers(rows["table bits"][3])[2:4] == [MIN_TABLE_BITS, MAX_TABLE_BITS]
    assert container.MAGIC.hex(" ").upper() in FORMAT
    number = r"XXH64 of nothing is (\w{16}), of the byte `a` (\w{16})"
    assert re.search(number, FORMAT).groups() == (f"{xxh64(b''):016X}", f"{xxh64(b'a'):016X}")


def test_bit_histories() -> None:
    states, following = mixing.histories()
    listed = numbers(MIXER.split("the state after a 1.")[1])
    cells = [listed[i : i + 6] for i in range(0, len(listed), 6)]
    assert cells == [
        [i, *state, *after] for i, (state, after) in enumerate(zip(states, following, strict=True))
    ]


def test_mixers_begin_as_written() -> None:
    vectors: dict[bool, list[int]] = {False: [], True: []}
    for inputs, alone, mixed in table(MIXER, "| inputs | contexts (kind 4) |"):
        first, last = (numbers(inputs) * 2)[:2] if "," not in inputs else numbers(inputs)
        vectors[False] += [int(alone)] * (last - first + 1)
        vectors[True] += [int(mixed)] * (last - first + 1)
    for network, vector in vectors.items():
        mixer = mixing.ContextMixer(10, network)
        assert all(weights == vector for chosen in mixer.weights for weights in chosen)
        assert mixer.final_weights[0] == [13107] * 5
    assert len(table(MIXER, "| k | context |")) == mixing.CONTEXTS


def test_logistic_values() -> None:
    for name, argument, value in re.findall(r"(squash|stretch)\((-?\d+)\) =\s(-?\d+)", MIXER):
        assert getattr(mixing, name)(int(argument)) == int(value)


def test_the_contexts_archive() -> None:
    """The archive that the annex spells out, and the probabilities of its bits."""
    text = MIXER.split("## Worked example")[1]
    archive = bytes.fromhex(text[text.index("    89 4E") :].split("\n\n")[0])
    data = b"abc" * 10
    assert nncodec.compress(data, 1) == archive
    written = {numbers(byte)[0]: numbers(row) for byte, row in table(text, "| byte | p |")}
    mixer, history = mixing.ContextMixer(10, network=False), mixing.LaneHistory()
    part, hashes = mixing.LanePart(0, len(data), 1), []
    for at, byte in enumerate(data):
        mixer.begin(data, part, 0, at, history)
        hashes += mixer.hashes if at < 2 else []
        given: list[int] = []

        def code_bit(ones: int, bit: int, given: list[int] = given) -> int:
            given.append(ones >> 8)
            return bit

        code_byte(code_bit, mixer, None, byte)
        mixer.end(data, part, 0, at, history)
        assert written.get(at, given) == given
    assert [f"{h:08X}" for h in hashes] == re.findall(r"\b[0-9A-F]{8}\b", text)


@pytest.mark.parametrize("name", MODELS)
def test_model_folders(name: str) -> None:
    column = 3 + MODELS.index(name)
    config = ModelConfig.load(ROOT / "models" / name)
    stated = json.loads(config.canonical_json())
    for row in table(NETWORK, "| field | symbol |"):
        values = stated.get(row[0], [])
        listed = row[column] if row[column] != "the same" else row[3]
        given = numbers(listed)
        whole = [values] if isinstance(values, int) else values
        assert given == (whole if ".." not in listed else whole[:2] + whole[-2:]), row[0]
    ids = {row[0]: row[1:] for row in table(NETWORK, "| model | id |")}
    file = ROOT / "models" / name / "engine.safetensors"
    weights = hashlib.sha256(file.read_bytes()).hexdigest()
    assert ids[name] == [modelstore.find(name).model_id.hex(), weights]


def test_shapes_and_canonical_config() -> None:
    config = ModelConfig.load(ROOT / "models" / "small")
    names = {"D": config.d_model, "H": config.n_heads, "G": config.n_kv_heads}
    names |= {"C": config.head_dim, "F": config.d_ff, "V": config.ngram_width}
    names |= {"B": config.ngram_bits, "K": len(config.ngram_orders)}
    shapes = {}
    for name, dtype, shape in table(NETWORK, "| name | dtype | shape |"):
        terms = shape.split(".")[0].replace("number of orders", "K").replace("^", "**")
        terms = re.sub(r"(?<=[\w)]) (?=[A-Z(\d])", "*", terms)
        sizes = tuple(eval(term, {}, names) for term in terms.split(","))
        for i in range(config.n_layers) if "*i*" in name else (0,):
            code = {"I8": np.int8, "F32": np.float32}[dtype]
            shapes[name.replace("*i*", str(i))] = code, sizes
    assert shapes == expected_shapes(config)
    nano = ModelConfig.load(ROOT / "models" / "nano").canonical_json()
    spelled = NETWORK.split("nano's is")[1].split("(in one line,")[0]
    assert "".join(spelled.split()) == nano
    assert f"{len(nano)} bytes" in NETWORK


def test_exp2_and_rotary_table() -> None:
    section = NETWORK.split("### exp2")[1].split("### Rotary")[0]
    found = re.findall(r"= y \+ (0x\S+)|= f \* (0x\S+)", section)
    coefficients = [float.fromhex(a or b) for a, b in found]
    assert tuple(reversed(coefficients)) == numerics.EXP2_COEFFICIENTS
    cosines = numerics.rope_table(4096)[0] * (1 << 14)
    values = re.findall(r"c\((\d+)\) = (\d+)", NETWORK.split("For P = 4096:")[1].split("##")[0])
    assert values
    assert all(cosines[int(j)] == int(c) for j, c in values)


@pytest.mark.parametrize("name", MODELS)
def test_counts(name: str) -> None:
    state = NativeEngine(modelstore.find(name), 1).start()
    rows = table(NETWORK, f"| {name}: input |")
    assert bytes(int(row[0]) for row in rows[1:]) == b"The cat"
    counts = state.advance(np.array([[int(row[0]) for row in rows]]))[0]
    for row, given in zip(rows, counts, strict=True):
        largest = np.argsort(-given, kind="stable")[:4]
        assert row[1] == ", ".join(f"{v}: {given[v]}" for v in largest)
        assert int(row[2]) == given.min()
        assert row[3] == f"{xxh64(given.astype('<u4').tobytes()):016X}"
