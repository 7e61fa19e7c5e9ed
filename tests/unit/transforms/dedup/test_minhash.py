from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import xxhash
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
    min_matches,
    permutations,
    signatures,
    sketches,
)
from malmungchi.transforms.kernels.shingles import BLOCK, fold
from malmungchi.transforms.kernels.utf8 import string_buffers
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
    expected = [xxhash.xxh3_128_digest(text.encode()) for text in texts]
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


def similarity(one: str, other: str) -> float:
    a, b = (set(part.tolist()) for part in split(*shingle_sets(*fold(*string_buffers(pa.array([one, other]))), 5)))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("오늘 아침 기온은 -7도까지 내려갔다", "오늘 아침 기온은 7도까지 내려갔다"),
        ("이 가게 다시 가고 싶어요 👍", "이 가게 다시 가고 싶어요 👎"),
        ("재고가 100개 < 주문 수량이면 알림을 보낸다", "재고가 100개 > 주문 수량이면 알림을 보낸다"),
        ("C++ 입문 강의를 듣고 있습니다", "C# 입문 강의를 듣고 있습니다"),
        ("본인 확인 절차 완료 여부: ✓", "본인 확인 절차 완료 여부: ✗"),
        ("환율은 오늘 ↑ 움직일 것으로 보인다", "환율은 오늘 ↓ 움직일 것으로 보인다"),
        ("배송비는 ₩5 추가됩니다", "배송비는 $5 추가됩니다"),
        ("설탕은 1.5컵 넣습니다", "설탕은 15컵 넣습니다"),
        ("\ue0bc\ue0bd은 옛말이다", "\uf100\uf101은 옛말이다"),
    ],
)
def test_texts_that_differ_in_a_sign_are_no_duplicates(one: str, other: str) -> None:
    rows = fingerprint(chunk_of([one, other]), Config().fingerprint).rows
    assert rows["content_hash"][0] != rows["content_hash"][1]
    assert similarity(one, other) < 0.8
    long = " ".join(f"{i}번째 문장은 그대로 둡니다." for i in range(40))
    assert similarity(f"{long} {one}", f"{long} {other}") >= 0.8  # here the threshold says so


def test_texts_without_letters_equal_only_themselves() -> None:
    chunk = fingerprint(chunk_of(["…", "!!! ???", "…", "😀"]), Config().fingerprint)
    hashes = chunk.rows["content_hash"].to_pylist()
    assert hashes[0] == hashes[2]
    assert len(set(hashes)) == 3
    assert chunk.rows["signature"].null_count == 4
