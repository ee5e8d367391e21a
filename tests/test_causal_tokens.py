"""Any bytes come back from tokens and a side stream, whatever the tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import BINARY, JSON, SAMPLES, TEXT
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tokenizers")
from causal_models import TOKENIZERS, byte_fallback, byte_level, save_tokenizer
from tokenizers import AddedToken, Tokenizer

from nncodec.causal.tokenize import PIECE, Tokens, load_tokenizer, tokenize, untokenize
from nncodec.causal.vocabulary import SPACE_MARK, TokenTable
from nncodec.errors import CorruptDataError, InvalidModelError

Loaded = tuple[TokenTable, Tokenizer]
FULL = ("byte level", "byte fallback")  # have a token for every byte
AWKWARD = (
    "</s> <unk><s>\u2581x \u2581\u2581 <0x41> \ufb01 \u212b e\u0301 \U0001f980 \u00e9\u3042\ufeff",
    " leading, trailing  ",
    "\r\n\t \n",
    "Ünïcödé NFKC ① ﬁ",
    "##word",
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Loaded]:
    root = tmp_path_factory.mktemp("tokenizers")
    found = {}
    for name, make in TOKENIZERS.items():
        folder = save_tokenizer(root / name, make(), {})
        found[name] = TokenTable.from_folder(folder), load_tokenizer(folder)
    return found


def text_like() -> st.SearchStrategy[bytes]:
    pieces = st.one_of(
        st.text(max_size=20).map(lambda text: text.encode("utf-8")),
        st.binary(max_size=20),
        st.sampled_from([TEXT[:60], BINARY[:40], *(text.encode() for text in AWKWARD)]),
    )
    return st.lists(pieces, max_size=6).map(b"".join)


def assert_comes_back(table: TokenTable, tokenizer: Tokenizer, data: bytes) -> Tokens:
    tokens = tokenize(table, tokenizer, data)
    assert tokens.ids.dtype == np.int32
    assert untokenize(table, tokens) == data
    return tokens


@pytest.mark.parametrize("name", TOKENIZERS)
@given(data=text_like())
def test_any_bytes(loaded: dict[str, Loaded], name: str, data: bytes) -> None:
    assert_comes_back(*loaded[name], data)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_samples(loaded: dict[str, Loaded], name: str) -> None:
    for data in (b"", *SAMPLES.values(), *(text.encode() for text in AWKWARD)):
        assert_comes_back(*loaded[name], data)


@pytest.mark.parametrize("name", FULL)
def test_text_needs_no_side_stream(loaded: dict[str, Loaded], name: str) -> None:
    """Whatever normalisers would make of it: they are switched off."""
    for text in (TEXT, JSON, *(text.replace(SPACE_MARK, "").encode() for text in AWKWARD)):
        tokens = assert_comes_back(*loaded[name], text)
        assert tokens.side == b""
        assert len(tokens.ids) <= len(text)


@pytest.mark.parametrize("name", [*FULL, "unigram"])
def test_text_is_cut_as_the_tokenizer_cuts_it(loaded: dict[str, Loaded], name: str) -> None:
    line = TEXT.splitlines()[1].lower()
    tokens = assert_comes_back(*loaded[name], line)
    assert tokens.side == b""
    assert tokens.ids.tolist() == loaded[name][1].encode(line.decode()).ids


def test_specials_in_a_text_are_text(loaded: dict[str, Loaded]) -> None:
    for table, tokenizer in loaded.values():
        assert_comes_back(table, tokenizer, b"a <s> b </s>")
        assert [table.bytes_of[i] for i in range(3)] == [None] * 3
        assert table.begin == 1


def test_a_binary_file_is_not_spelled(loaded: dict[str, Loaded]) -> None:
    for table, tokenizer in loaded.values():
        tokens = assert_comes_back(table, tokenizer, BINARY * 20)
        assert len(tokens.side) > len(BINARY) * 18
        assert len(tokens.ids) < len(BINARY)


def test_a_stray_byte_is_spelled_where_there_is_a_token(loaded: dict[str, Loaded]) -> None:
    data = TEXT[:60] + b"\xff" + TEXT[60:120]
    for name, (table, tokenizer) in loaded.items():
        tokens = assert_comes_back(table, tokenizer, data)
        assert (tokens.side == b"") == (name in FULL), name


def test_unknown_text_is_an_escape(loaded: dict[str, Loaded]) -> None:
    """Upper case, of which this vocabulary has none: not "it is" and an unknown."""
    table, tokenizer = loaded["unigram"]
    tokens = assert_comes_back(table, tokenizer, b"a promise WAS KEPT, it seems, in one machine")
    assert b"WAS" in tokens.side or b"W" in tokens.side
    assert len(tokens.ids) > 4


def test_long_text_in_pieces(loaded: dict[str, Loaded]) -> None:
    for end in (b"", b"\n"):
        data = (b"x" * 70 + end) * (3 * PIECE // 70)
        for name in FULL:
            tokens = assert_comes_back(*loaded[name], data)
            assert tokens.side == b""


def test_added_tokens_that_are_text(tmp_path: Path) -> None:
    """GPT-NeoX adds runs of spaces: text like any other, but matched first."""
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("    ", normalized=False), "naïve"])
    folder = save_tokenizer(tmp_path, tokenizer, {})
    table = TokenTable.from_folder(folder)
    tokens = assert_comes_back(table, load_tokenizer(folder), "x    y naïve".encode())
    assert table.bytes_of[tokenizer.token_to_id("    ")] == b"    "
    assert tokenizer.token_to_id("naïve") in tokens.ids


def test_tokens_behind_the_models_outputs_are_not_used(tmp_path: Path) -> None:
    tokenizer = byte_fallback()
    folder = save_tokenizer(tmp_path, tokenizer, {"vocab_size": 280})
    table = TokenTable.from_folder(folder)
    assert len(table.bytes_of) == 280
    tokens = assert_comes_back(table, load_tokenizer(folder), TEXT)
    assert tokens.ids.max() < 280


def test_the_digest_is_that_of_bytes_and_begin(loaded: dict[str, Loaded]) -> None:
    tables = [table for table, _ in loaded.values()]
    assert len({table.digest for table in tables}) == len(tables)
    table = tables[0]
    assert TokenTable(list(table.bytes_of), table.begin).digest == table.digest
    assert TokenTable(table.bytes_of, table.begin + 1).digest != table.digest
    assert TokenTable([*table.bytes_of, None], table.begin).digest != table.digest


@pytest.mark.parametrize(
    "side",
    [b"\x01", b"\x01\x00", b"\x01\x00\x02a", b"\x01\x00\x01ab", b"\x01\x05\x01a", b"\x80" * 9],
)
def test_a_side_stream_that_does_not_fit(loaded: dict[str, Loaded], side: bytes) -> None:
    table, tokenizer = loaded["byte level"]
    tokens = tokenize(table, tokenizer, b"It is")
    assert len(tokens.ids) < 5
    with pytest.raises(CorruptDataError, match="damaged"):
        untokenize(table, Tokens(tokens.ids, side))


@given(st.binary(max_size=40))
def test_any_side_stream(loaded: dict[str, Loaded], side: bytes) -> None:
    table, _ = loaded["byte level"]
    tokens = Tokens(np.array([5, 6, 7], dtype=np.int32), side)
    try:
        data = untokenize(table, tokens)
    except CorruptDataError:
        return
    assert len(data) <= 3 * 32 + len(side)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    folder = save_tokenizer(tmp_path, byte_level(), {})
    (folder / "config.json").write_text(json.dumps({"vocab_size": "many"}))
    with pytest.raises(InvalidModelError, match="vocab_size is 'many'"):
        TokenTable.from_folder(folder)
    (folder / "config.json").write_text(json.dumps({"vocab_size": 9}))
    for text, why in (
        ("[]", "holds no JSON object"),
        ("{", "cannot be read"),
        ('{"model": {}}', "save it with a fast tokenizer"),
        ('{"model": {"vocab": {}}}', "no token that stands for bytes"),
    ):
        (folder / "tokenizer.json").write_text(text)
        with pytest.raises(InvalidModelError, match=why):
            TokenTable.from_folder(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InvalidModelError, match=r"has no tokenizer\.json; save it there"):
        TokenTable.from_folder(folder)


@pytest.mark.weights
def test_the_real_one(weights: Path) -> None:
    folder = weights / "stories260K-hf"
    table, tokenizer = TokenTable.from_folder(folder), load_tokenizer(folder)
    assert table.begin == 1
    for data in (b"", *SAMPLES.values(), *(text.encode() for text in AWKWARD)):
        assert_comes_back(table, tokenizer, data)
    tokens = assert_comes_back(table, tokenizer, b"Once upon a time, Lily")
    words = [table.bytes_of[number] for number in tokens.ids]
    assert words[-1] == b" Lily"
    assert b" upon" in words
