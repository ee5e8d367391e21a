"""Packed archives as data sets to train on: by number, as a stream, over workers and ranks."""

from __future__ import annotations

import pickle
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_pack_data import texts
from torch import distributed
from torch.utils.data import DataLoader

import nncodec
from nncodec.errors import CorruptDataError, MemberNotFoundError
from nncodec.pack import PackWriter, Samples, pack, recent
from nncodec.pack.order import Epoch, Layout, arrange
from nncodec.pack.torch import BlockShuffleSampler, PackedDataset, PackedIterableDataset

COUNT, BUFFER = 400, 1 << 13
TEXTS = [text.encode() for text in texts(COUNT)]
NAMES = [f"t/{i:04d}" for i in range(COUNT)]
ALL = sorted(zip(NAMES, TEXTS, strict=True))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("packed") / "c.nnc"
    with PackWriter(path, block_size=1 << 11, dedup=False) as writer:
        writer.extend(zip(NAMES, TEXTS, strict=True))
    return str(path)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives that keep the last block alone."""
    monkeypatch.setattr(recent, "KEPT", 1)


def opened(found: Samples[Any]) -> Samples[Any]:
    """The same, counting from here on."""
    found.close()
    return found


def blocks(found: Samples[Any]) -> int:
    return len(found.archive.frame_ends)


# --- by number


def test_by_number(archive: str) -> None:
    found = PackedDataset[bytes](archive)
    assert len(found) == COUNT
    assert [found[i] for i in (0, 7, -1, COUNT - 1)] == [TEXTS[i] for i in (0, 7, -1, COUNT - 1)]
    assert found.name(7) == NAMES[7]
    for wrong in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError, match=f"sample {wrong} of {COUNT}"):
            found[wrong]
    assert PackedDataset(archive, transform=bytes.decode)[7] == TEXTS[7].decode()
    assert PackedDataset(archive, transform=len, named=True)[7] == (NAMES[7], len(TEXTS[7]))
    some = PackedDataset(archive, members=["t/000*", NAMES[30]])
    assert [some.name(i) for i in range(len(some))] == [*NAMES[:10], NAMES[30]]
    with pytest.raises(MemberNotFoundError, match="no member 'u'"):
        PackedDataset(archive, members=["u"])


@pytest.mark.usefixtures("forgetful")
def test_a_batch_decodes_each_block_that_it_touches_once(archive: str) -> None:
    found = PackedDataset[bytes](archive)
    batch = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0)).tolist()
    assert found.__getitems__(batch) == [TEXTS[i] for i in batch]
    assert found.archive.blocks_decoded == blocks(found)
    loader = DataLoader(found, batch_size=COUNT, shuffle=True, collate_fn=list)
    (got,) = opened(found) and list(loader)  # the loader asks for batches, too
    assert sorted(got) == sorted(TEXTS)
    assert found.archive.blocks_decoded == blocks(found)


def test_files_of_a_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d/e").mkdir(parents=True)
    held = {"d/a": b"a" * 5000, "d/b": b"", "d/e/c": b"abc", "d/z": b"a" * 5000}
    for name, data in held.items():
        Path(name).write_bytes(data)
    Path("d/link").symlink_to("a")
    pack(["d"], "tree.nnc", block_size=1 << 10)
    found = Samples[Any]("tree.nnc", named=True)
    assert dict(found) == held
    assert [found[i][0] for i in range(len(found))] == sorted(held)
    pack([], "empty.nnc")
    for none in (Samples[bytes]("empty.nnc"), PackedIterableDataset[bytes]("empty.nnc")):
        assert list(none) == []


def test_a_sampler_stays_in_few_blocks(archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "KEPT", 2 * BUFFER)
    found = PackedDataset[bytes](archive)
    sampler = BlockShuffleSampler(found, buffer=BUFFER, seed=1)
    order = list(sampler)
    assert sorted(order) == list(range(COUNT)) != order
    assert len(sampler) == COUNT
    for number in order:
        assert found[number] == TEXTS[number]
    assert found.archive.blocks_decoded <= blocks(found) + 8
    opened(found)
    for number in np.random.default_rng(0).permutation(COUNT).tolist():
        _ = found[number]
    assert found.archive.blocks_decoded > 2 * blocks(found)  # what a plain shuffle costs
    sampler.set_epoch(1)
    assert sorted(sampler) == list(range(COUNT))
    assert list(sampler) != order


@pytest.mark.parametrize(("workers", "batch"), [(1, 8), (2, 8), (3, 7)])
def test_a_sampler_gives_workers_blocks_of_their_own(
    archive: str, workers: int, batch: int
) -> None:
    found = PackedDataset[bytes](archive)
    sampler = BlockShuffleSampler(found, buffer=BUFFER, batch_size=batch, workers=workers)
    order = list(sampler)
    assert sorted(order) == list(range(COUNT))
    batches = [order[i : i + batch] for i in range(0, COUNT, batch)]
    units = np.repeat(np.arange(len(found.layout.begins) - 1), np.diff(found.layout.begins))
    unit_of = units[found.layout.ranks]
    seen = [
        {int(unit_of[i]) for each in batches[worker:-workers:workers] for i in each}
        for worker in range(workers)
    ]
    assert sum(map(len, seen)) <= len(found.layout.begins) + 2 * workers


# --- orders


@given(
    st.lists(st.integers(1, 9), max_size=40),
    st.integers(1, 7),
    st.booleans(),
    st.integers(1, 60),
    st.integers(0, 3),
)
def test_parts_are_everything_once(
    counts: list[int], parts: int, shuffle: bool, buffer: int, seed: int
) -> None:
    total = sum(counts)
    places = np.random.default_rng(seed).permutation(total)
    ranks = np.argsort(places)
    weights = np.random.default_rng(seed).integers(0, 20, total).astype(float)
    layout = Layout(places, ranks, weights, np.cumsum([0, *counts]))
    found = []
    for part in range(parts):
        mine, windows = arrange(layout, Epoch(part, parts, shuffle, seed, 5, buffer))
        again, _ = arrange(layout, Epoch(part, parts, shuffle, seed, 5, buffer))
        assert (mine == again).all()
        assert (np.diff(windows) >= 0).all()
        for window in np.unique(windows):
            assert weights[ranks[mine[windows == window]]].sum() < buffer + 20
        found.append(mine)
    assert sorted(np.concatenate(found).tolist()) == list(range(total))
    assert max(map(len, found)) - min(map(len, found)) <= 1


# --- as a stream


def stream(archive: str, **options: Any) -> PackedIterableDataset[tuple[str, bytes]]:
    return PackedIterableDataset(archive, named=True, buffer=BUFFER, **options)


@pytest.mark.usefixtures("forgetful")
def test_a_stream(archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = stream(archive)
    assert list(plain) == ALL  # as they lie in the archive: as they came
    assert plain.samples.archive.blocks_decoded == blocks(plain.samples)
    monkeypatch.setattr(recent, "KEPT", 2 * BUFFER)
    mixed = stream(archive, shuffle=True, seed=2)
    first = list(mixed)
    assert sorted(first) == ALL != first
    assert first == list(stream(archive, shuffle=True, seed=2))
    assert mixed.samples.archive.blocks_decoded <= blocks(mixed.samples) + 10
    mixed.set_epoch(1)
    assert sorted(mixed) == ALL
    assert list(mixed) != first != list(stream(archive, shuffle=True, seed=3))
    begins = [int(name[2:]) for name, _ in first]
    near = sum(abs(a - b) < 150 for a, b in pairwise(begins))
    assert near > COUNT // 2  # blocks are not given up for each sample


def test_ranks(archive: str) -> None:
    got: list[Any] = []
    for rank in range(3):
        mine = stream(archive, shuffle=True, rank=rank, world_size=3)
        found = list(mine)
        assert len(found) == mine.count
        assert COUNT // 3 <= mine.count <= COUNT // 3 + 1
        sampler = BlockShuffleSampler(PackedDataset(archive), rank=rank, world_size=3, workers=2)
        assert len(list(sampler)) == len(sampler) == mine.count
        got += found
    assert sorted(got) == ALL
    with pytest.raises(ValueError, match="give both rank and world_size"):
        PackedIterableDataset(archive, rank=1)
    with pytest.raises(ValueError, match="part 3 of 3"):
        list(stream(archive, rank=3, world_size=3))


def test_ranks_of_a_process_group(archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = stream(archive)
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 4)
    assert list(mixed) == ALL[COUNT // 4 : COUNT // 2]
    sent = pickle.dumps(mixed)
    monkeypatch.undo()  # a worker that was begun afresh has no process group
    assert list(pickle.loads(sent)) == ALL[COUNT // 4 : COUNT // 2]
    assert list(pickle.loads(pickle.dumps(stream(archive)))) == ALL


@pytest.mark.parametrize("stop", [0, 1, 57, COUNT])
def test_a_stream_goes_on_where_it_was(archive: str, stop: int) -> None:
    whole = stream(archive, shuffle=True)
    whole.set_epoch(3)
    expected = list(whole)
    first = stream(archive, shuffle=True)
    first.set_epoch(3)
    given: Iterator[Any] = iter(first)
    got = [next(given) for _ in range(stop)]
    state = first.state_dict()
    second = stream(archive, shuffle=True)
    second.load_state_dict(state)
    assert second.state_dict() == state
    before = second.samples.archive.blocks_decoded
    assert got + list(second) == expected
    if stop == COUNT:
        assert second.samples.archive.blocks_decoded == before
    assert list(second) == expected  # the next one is whole
    other = stream(archive, shuffle=True, rank=0, world_size=2)
    other.load_state_dict(state)
    with pytest.raises(ValueError, match="the state is of part 0 of 1"):
        list(other)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # of fork, since 3.12
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on one core
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers(archive: str, method: str) -> None:
    """Every member once over all workers and ranks; workers that are kept hear of epochs."""
    got: list[Any] = []
    for rank in range(2 if method == "fork" else 1):
        ranks = {"rank": rank, "world_size": 2} if method == "fork" else {}
        mixed = stream(archive, shuffle=True, **ranks)
        loader = DataLoader(
            mixed,
            batch_size=16,
            num_workers=2,
            collate_fn=list,
            multiprocessing_context=method,
            persistent_workers=True,
        )
        first = [sample for batch in loader for sample in batch]
        mixed.set_epoch(1)
        second = [sample for batch in loader for sample in batch]
        assert first != second
        if method == "spawn":
            assert sorted(second) == ALL
        got += first
        del loader
    assert sorted(got) == ALL


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_workers_by_number(archive: str) -> None:
    found = PackedDataset[bytes](archive)
    sampler = BlockShuffleSampler(found, batch_size=16, workers=2)
    context = {"num_workers": 2, "multiprocessing_context": "fork"}
    loader: Any = DataLoader(found, 16, sampler=sampler, collate_fn=list, **context)
    assert Counter(s for batch in loader for s in batch) == Counter(TEXTS)


def test_threads_and_pickles(archive: str) -> None:
    found = pickle.loads(pickle.dumps(PackedDataset[bytes](archive)))
    got: list[list[bytes]] = [[] for _ in range(4)]

    def read(thread: int) -> None:
        got[thread] = found.read_many(range(thread, COUNT, 4))

    threads = [threading.Thread(target=read, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [TEXTS[thread::4] for thread in range(4)]


def test_what_cannot_be(archive: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain.nnc"
    plain.write_bytes(nncodec.compress(b"text", level=1))
    for kind in (PackedDataset, PackedIterableDataset):
        with pytest.raises(CorruptDataError, match="is no packed archive"):
            kind(plain)
        with pytest.raises(FileNotFoundError):
            kind(tmp_path / "absent.nnc")
    with pytest.raises(ValueError, match="33554433 bytes: it has 1 to 33554432"):
        BlockShuffleSampler(PackedDataset(archive), buffer=(1 << 25) + 1)
    with pytest.raises(ValueError, match="a buffer of 0 bytes"):
        PackedIterableDataset(archive, buffer=0)
    with pytest.raises(ValueError, match="epoch -1"):
        PackedIterableDataset(archive).set_epoch(-1)
