"""The fuzz targets without a fuzzer: what they hold of inputs is tested on seeds and kept cases.

``scripts/fuzz.sh`` runs them with one (docs/robustness.md). A case is a line of hex in
``fuzz/cases``; what follows # says what it found.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parent / "fuzz"
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in FOLDER.glob("fuzz_*.py"))
MUTATIONS = 150


@pytest.fixture(scope="module", autouse=True)
def _targets() -> Iterator[None]:
    """Targets import each other by name, as where a fuzzer starts them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield


def target(name: str) -> ModuleType:
    return import_module(f"fuzz_{name}")


def kept(name: str) -> list[bytes]:
    path = FOLDER / "cases" / f"{name}.txt"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    words = [word for line in lines for word in line.split("#")[0].split()]
    return [bytes.fromhex(word) for word in words]


def mutated(seed: bytes, rng: random.Random) -> bytes:
    data = bytearray(seed) + rng.randbytes(rng.choice((0, 8, 60)))
    for _ in range(rng.randrange(5)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_cases_and_seeds(name: str) -> None:
    module = target(name)
    inputs = [b"", *kept(name), *module.seeds()]
    for data in inputs:
        module.TestOneInput(data)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name: str) -> None:
    """The same ones each time; a fuzzer runs others."""
    rng, module = random.Random(f"9 {name}"), target(name)
    seeds = [*kept(name), *module.seeds()]
    for _ in range(MUTATIONS):
        data = mutated(rng.choice(seeds), rng)
        try:
            module.TestOneInput(data)
        except Exception as error:
            pytest.fail(f"{error!r} for {data.hex()}")


def test_a_target_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a wrong block passed as right, the targets would say so."""
    import forged
    import fuzz_container

    archive, data = fuzz_container.whole()[2]
    monkeypatch.setattr(forged, "decode", lambda *_: data[:-1] + b"?")
    with pytest.raises(AssertionError):
        fuzz_container.TestOneInput(b"\0" + archive)


def test_every_case_says_what_it_was() -> None:
    for path in (FOLDER / "cases").iterdir():
        assert path.read_text("utf-8").startswith("#"), path.name
