from __future__ import annotations

import math
import struct

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.exact_pairs import shingle_sets
from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.config import Config, Fingerprint
from malmungchi.schemas.document import DOCUMENT, REJECT, empty
from malmungchi.transforms.dedup.fingerprint import fields, fingerprint, parts
from malmungchi.transforms.kernels.minhash import (
    band_hashes,
    content_hashes,
    min_matches,
    permutations,
    signatures,
    sketches,
)
from malmungchi.transforms.kernels.shingles import BLOCK
from tests.support.chunks import chunk_of
from tests.unit.transforms.kernels.test_shingles import codepoints, reference, split

TEXTS = st.lists(
    st.one_of(
        st.text("abc가나", max_size=80), st.integers(BLOCK - 2, 2 * BLOCK + 70).map(lambda k: ("가나다라마바" * k)[:k])
    ),
    max_size=4,
)


@settings(max_examples=50, deadline=None)
def to_datasketch(signature: np.ndarray, seed: int) -> MinHash:
    """A signature as people read it with that library."""
    return MinHash(seed=seed, hashvalues=signature, scheme="affine32")


@given(TEXTS, st.integers(1, 8), st.integers(1, 140), st.integers(0, 2**32 - 1))
def test_signature_is_datasketchs(texts: list[str], n: int, num_perm: int, seed: int) -> None:
    data = codepoints(texts)
    ours = signatures(*data, n, *permutations(num_perm, seed))
    for signature, hashes in zip(ours, split(*shingle_sets(*data, n)), strict=True):
        theirs = MinHash(num_perm=num_perm, seed=seed, scheme="affine32", hashfunc=lambda h: h)
        theirs.update_batch([int(h) >> 32 for h in hashes])
        assert signature.tolist() == theirs.hashvalues.tolist()
        assert to_datasketch(signature, seed).jaccard(theirs) == 1.0


def test_empty_text_has_an_empty_signature() -> None:
    signature = signatures(*codepoints([""]), 5, *permutations(64, 1))[0]
    assert to_datasketch(signature, 1).is_empty()


def murmur3(data: bytes) -> tuple[int, int]:
    """MurmurHash3_x64_128 with seed 0, line by line after the published algorithm."""
    mask, c1, c2 = (1 << 64) - 1, 0x87C37B91114253D5, 0x4CF5AD432745937F

    def rotl(x: int, r: int) -> int:
        return (x << r | x >> (64 - r)) & mask

    def fmix(k: int) -> int:
        k = (k ^ k >> 33) * 0xFF51AFD7ED558CCD & mask
        k = (k ^ k >> 33) * 0xC4CEB9FE1A85EC53 & mask
        return k ^ k >> 33

    h1 = h2 = 0
    whole = len(data) // 16 * 16
    for k1, k2 in struct.iter_unpack("<QQ", data[:whole]):
        h1 ^= rotl(k1 * c1 & mask, 31) * c2 & mask
        h1 = ((rotl(h1, 27) + h2) * 5 + 0x52DCE729) & mask
        h2 ^= rotl(k2 * c2 & mask, 33) * c1 & mask
        h2 = ((rotl(h2, 31) + h1) * 5 + 0x38495AB5) & mask
    tail = data[whole:]
    h2 ^= rotl(int.from_bytes(tail[8:], "little") * c2 & mask, 33) * c1 & mask
    h1 ^= rotl(int.from_bytes(tail[:8], "little") * c1 & mask, 31) * c2 & mask
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & mask
    h2 = (h2 + h1) & mask
    h1, h2 = fmix(h1), fmix(h2)
    h1 = (h1 + h2) & mask
    return h1, (h2 + h1) & mask


def test_reference_hash_gives_the_published_values() -> None:
    assert murmur3(b"") == (0, 0)
    # "hello" and "The quick brown fox …" as the original C++ gives them.
    assert murmur3(b"hello") == (0xCBD8A7B341BD9B02, 0x5B1E906A48AE1D19)
    assert murmur3(b"The quick brown fox jumps over the lazy dog") == (0xE34BBC7BBC071B6C, 0x7A433CA9C49A9347)


@given(st.lists(st.text(max_size=20), max_size=5))
def test_content_hash_is_murmur3(texts: list[str]) -> None:
    expected = [list(murmur3(text.encode("utf-32-le"))) for text in texts]
    assert content_hashes(*codepoints(texts)).tolist() == expected


def test_band_hashes_tell_bands_and_values_apart() -> None:
    signature = np.random.RandomState(0).randint(0, 1 << 32, (50, 20), dtype=np.uint32)
    signature[:, 5:10] = signature[:, :5]  # equal values in two bands
    signature[1] = signature[0]
    hashes = band_hashes(signature, 4, 5)
    assert (hashes[0] == hashes[1]).all()
    assert len(np.unique(hashes)) == 49 * 4
    with pytest.raises(ValueError, match="need 25"):
        band_hashes(signature, 5, 5)


@given(st.integers(1, 140), st.integers(0, 100))
def test_sketch_matches_are_matches_of_two_bits(num_perm: int, seed: int) -> None:
    values = np.random.RandomState(seed).randint(0, 5, (2, num_perm), dtype=np.uint32)
    low, high = np.split(sketches(values), 2, axis=1)
    differ = (low[0] ^ low[1]) | (high[0] ^ high[1])
    matches = num_perm - sum(int(word).bit_count() for word in differ)
    assert matches == int(((values[0] & 3) == (values[1] & 3)).sum())


@pytest.mark.parametrize(("num_perm", "threshold"), [(1, 0.5), (110, 0.8), (128, 0.8), (240, 0.7), (64, 1.0)])
def test_min_matches_is_the_binomial_tail(num_perm: int, threshold: float) -> None:
    p = threshold + (1 - threshold) / 4
    m = min_matches(num_perm, threshold)

    def below(m: int) -> float:
        return math.fsum(math.comb(num_perm, k) * p**k * (1 - p) ** (num_perm - k) for k in range(m))

    assert below(m) <= 1e-5
    assert m == num_perm or below(m + 1) > 1e-5


def chunk(texts: list[str]) -> Chunk:
    rows = [{"ordinal": k, "id": str(k), "text": text, "file": "f", "row": k} for k, text in enumerate(texts)]
    return Chunk("item", 0, True, pa.RecordBatch.from_pylist(rows, DOCUMENT), empty(REJECT))


def test_fingerprint_adds_its_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["가", "짧다.", "다섯 글자다!", "Straße 가나다라마 " * 30, "STRASSE 가나다라마 " * 30]
    config = Fingerprint(bands=4, rows=4)
    whole = fingerprint(chunk(texts), config).rows
    assert [whole.schema.field(field.name) for field in fields(config)] == fields(config)
    whole.validate(full=True)
    assert whole["folded_chars"].to_pylist() == [len(reference(text)) for text in texts]
    expected = [struct.pack("<QQ", *murmur3(reference(text).encode("utf-32-le"))) for text in texts]
    assert whole["content_hash"].to_pylist() == expected
    assert whole["signature"].is_null().to_pylist() == [True, True, False, False, False]
    assert whole["signature"][3] == whole["signature"][4]
    # The same in parts, and of a slice.
    monkeypatch.setattr("malmungchi.transforms.dedup.fingerprint._PART_BYTES", 10)
    assert fingerprint(chunk(texts), config).rows.equals(whole)
    sliced = chunk(texts)
    sliced = Chunk("item", 0, True, sliced.rows.slice(1, 3), sliced.rejects)
    assert fingerprint(sliced, config).rows.equals(whole.slice(1, 3))
    assert fingerprint(chunk([]), config).rows.num_rows == 0


@given(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 40))
def test_parts_are_consecutive_and_bounded(sizes: list[int], limit: int) -> None:
    offsets = np.cumsum([7, *sizes], dtype=np.int32)
    runs = list(parts(offsets, limit))
    assert [d for a, b in runs for d in range(a, b)] == list(range(len(sizes)))
    assert all(b == a + 1 or offsets[b] - offsets[a] <= limit for a, b in runs)


def test_texts_without_letters_equal_only_themselves() -> None:
    chunk = fingerprint(chunk_of(["…", "!!! ???", "…", "😀"]), Config().fingerprint)
    hashes = chunk.rows["content_hash"].to_pylist()
    assert hashes[0] == hashes[2]
    assert len(set(hashes)) == 3
    assert chunk.rows["signature"].null_count == 4
