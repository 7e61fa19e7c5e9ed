"""NORMALIZE: what goes, what stays, and that doing it twice changes nothing."""

from __future__ import annotations

import time
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malmungchi.schemas.config import Normalize
from malmungchi.transforms.kernels import normalize as kernel
from malmungchi.transforms.kernels.compose import MARKS, canonical, compose
from malmungchi.transforms.kernels.utf8 import string_array, string_buffers
from malmungchi.transforms.text.normalize import normalize, normalize_text
from tests.support.chunks import chunk_of


def clean(text: str, **settings: bool) -> str:
    value: str = normalize_text(pa.array([text], pa.string()), Normalize(**settings))[0].as_py()
    return value


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "한글"),  # NFD
        ("ㅋㅋㅠㅠ ㈜ ㎡ ① x²", "ㅋㅋㅠㅠ ㈜ ㎡ ① x²"),  # NFKC would destroy all of these
        ("\uffbe\uffc2\uffa4", "ㅎㅏㄴ"),  # half-width jamo
        ("초ㆍ중ㆍ고", "초·중·고"),
        ("ㅎㆍㄴ", "ㅎㆍㄴ"),  # arae-a among jamo is a vowel
        ("가\u3164나\u200b다\ufeff라\u00ad", "가나다라"),
        ("\u1100\u119e", "\u1100\u119e"),  # old Hangul has no syllable and stays
        ("\u1100\u1160", "\u1100\u1160"),  # a filler that completes an old syllable stays
        ("\u115f\u1160 가", " 가"),  # fillers alone are padding
        ("👨\u200d👩\u200d👧 가\u200d나", "👨\u200d👩\u200d👧 가나"),
        ("하나\r\n둘\r셋\u2028넷\x0b다섯", "하나\n둘\n셋\n넷\n다섯"),
        ("하나 \t\u3000\n둘  ", "하나\n둘"),
        ("\n \n  들여쓴 줄\n\n\n", "  들여쓴 줄"),
        ("a\x00b\x1bc\x7f", "abc"),
        ("\u1100\u200b\u1161", "가"),  # composes once the mark between is gone
        ("금\uf90a", "금\u91d1"),
        # What the rule about dots looks at is composed first.
        (unicodedata.normalize("NFD", "서울ㆍ부산"), "서울·부산"),
        ("\uf914ㆍ\uf914", "\u6a02·\u6a02"),
        ("\u212aㆍ\u212a", "K·K"),
        ("\u1100\u200b\u1161ㆍ\u1100\u200b\u1161", "가·가"),
        (" \u200b\n", ""),
        ("가ㆍ\u200b나", "가·나"),
        ("가ㆍㆍ나", "가ㆍㆍ나"),
        ("가ㆍ\u115f\u119e", "가ㆍ\u115f\u119e"),
        ("가ㆍ\uffbe\u0301ㆍ\u0301", "가ㆍㅎ\u0301ㆍ\u0301"),
        ("가ㆍ\u115f나 \uf914ㆍ\u200d\uf90a", "가·나 \u6a02·\u91d1"),
    ],
)
def test_examples(before: str, after: str) -> None:
    assert clean(before) == after


def test_each_setting_can_be_switched_off() -> None:
    assert clean("가\u3164", fillers=False) == "가\u3164"
    assert clean("가\u200b", zero_width=False) == "가\u200b"
    assert clean("가\x01", control=False) == "가\x01"
    assert clean("\uffbe", halfwidth_jamo=False) == "\uffbe"
    assert clean(" 가 \r\n", whitespace=False) == " 가 \r\n"


awkward = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(
            " \n\r\t\u0085\u00a0\u00ad\u0301\u0323\u1100\u1161\u11a8\u115f\u1160\u119e\u200b\u200c\u200d\u2028\u3000"
            "\u3131\u314f\u318d\u3164\uac00\ud7a3\uffa0\uffa1\uffc2\uffdc\ufe0f\U0001f468\x00\x0b\x0c\x7f\u212b\u0958"
        ),
    ),
    max_size=40,
)


def plain(text: str) -> str:
    """What `normalize_text` should make of a document: NFC and the rules, until nothing changes."""
    before = unicodedata.normalize("NFC", text)
    while (after := unicodedata.normalize("NFC", ruled(before))) != before:
        before = after
    return after


def ruled(text: str) -> str:
    """The rules, character by character."""
    out: list[str] = []
    text = text.replace("\r\n", "\n")
    for at, char in enumerate(text):
        before, after, cp = out[-1] if out else "", text[at + 1 : at + 2], ord(char)
        if char in "\n\r\x0b\x0c\x85\u2028\u2029":
            char = "\n"
        elif char == "\u200d":
            char = char if pictograph(before) and pictograph(after) else ""
        elif char == "\u115f":
            char = char if "\u1161" <= after <= "\u11a7" or "\ud7b0" <= after <= "\ud7c6" else ""
        elif char == "\u1160":
            char = char if "\u1100" <= before <= "\u115e" or "\ua960" <= before <= "\ua97c" else ""
        elif char == "\u318d":
            char = "·" if separable(before) and separable(after) else char
        elif (unicodedata.category(char) == "Cc" and char != "\t") or cp in GONE:
            char = ""
        elif 0xFFA1 <= cp <= 0xFFDC and unicodedata.category(char) != "Cn":
            # NFKC makes jamo that join into syllables of these; their names tell the compatibility jamo.
            char = unicodedata.lookup(unicodedata.name(char).replace("HALFWIDTH ", ""))
        out += char
    lines = [line.rstrip(BLANKS) for line in "".join(out).split("\n")]
    while lines and not lines[0]:
        del lines[0]
    while lines and not lines[-1]:
        del lines[-1]
    return "\n".join(lines)


BLANKS = "\t " + "".join(chr(cp) for cp in range(0x80, 0x10000) if unicodedata.category(chr(cp)) == "Zs")
GONE = {0xAD, 0x180E, 0x3164, 0xFFA0, 0xFEFF, 0x200B, 0x200C, 0x200E, 0x200F, *range(0x202A, 0x202F),
        *range(0x2060, 0x2065), *range(0x2066, 0x2070), *range(0xFFF9, 0xFFFC)}  # fmt: skip


def pictograph(char: str) -> bool:
    return "\U0001f000" <= char <= "\U0001faff" or "\u2190" <= char <= "\u2bff" or char in ("\ufe0f", "\u3030")


def separable(char: str) -> bool:
    return "가" <= char <= "\ud7a3" or "\u4e00" <= char <= "\u9fff" or (char.isascii() and char.isalnum())


# Long enough for the kernel to copy whole blocks.
smooth = st.builds(lambda word, times: word * times, st.sampled_from(["가나다 ", "abc\n", "글 \t", "\n", "  "]),
                   st.integers(0, 90))  # fmt: skip


@given(st.lists(st.builds("".join, st.lists(st.one_of(awkward, smooth), max_size=6)), max_size=4))
def test_as_plain_python_would_do_it(texts: list[str]) -> None:
    assert normalize_text(pa.array(texts, pa.string()), Normalize()).to_pylist() == [plain(text) for text in texts]


@given(st.lists(awkward, max_size=8))
def test_idempotent_nfc_and_no_letter_lost(texts: list[str]) -> None:
    once = normalize_text(pa.array(texts, pa.string()), Normalize())
    once.validate(full=True)
    assert normalize_text(once, Normalize()).equals(once)
    for before, after in zip(texts, once.to_pylist(), strict=True):
        assert unicodedata.is_normalized("NFC", after)
        assert "\r" not in after
        assert after == "\n".join(line.rstrip() for line in after.split("\n"))
        # Fillers are letters by category only; half-width jamo and the dot ㆍ become others.
        special = {0x3164, 0xFFA0, 0x115F, 0x1160, 0x318D, *range(0xFFA1, 0xFFDD), *range(0x3131, 0x3164)}

        def letters(text: str, special: set[int] = special) -> list[str]:
            return [c for c in unicodedata.normalize("NFD", text) if c.isalnum() and ord(c) not in special]

        assert sorted(letters(before)) == sorted(letters(after))


@given(st.lists(awkward, max_size=6))
def test_with_everything_off_it_is_nfc_alone(texts: list[str]) -> None:
    off = Normalize(fillers=False, zero_width=False, control=False, halfwidth_jamo=False, whitespace=False)
    got = normalize_text(pa.array(texts, pa.string()), off).to_pylist()
    assert got == [unicodedata.normalize("NFC", text) for text in texts]


def test_every_code_point_that_nfc_may_change_is_suspect() -> None:
    classes = kernel.table(True, True, True, True, True)
    for cp in [*range(0xD800), *range(0xE000, 0x30000)]:
        if not unicodedata.is_normalized("NFC", chr(cp)):
            assert classes[cp] & kernel.NFC_SUSPECT or kernel.singles()[cp], hex(cp)


def test_a_document_of_which_nothing_is_left_is_rejected() -> None:
    chunk = normalize(chunk_of(["글", "\u200b \n", "또"]), Normalize())
    assert chunk.rows["text"].to_pylist() == ["글", "또"]
    assert chunk.rejects.select(["row", "step", "rule"]).to_pylist() == [
        {"row": 2, "step": "normalize", "rule": "empty"}
    ]


def test_marks_without_end_cost_no_time_without_end() -> None:
    """Canonical ordering takes time that grows with the square of a run of marks."""
    few, many = "가" + "\u0301\u0323" * (MARKS // 2), "나" + "\u0323\u0301" * 1_000_000
    started = time.process_time()
    once = normalize_text(pa.array([few, many, f"{many} 다 {few}"], pa.string()), Normalize())
    assert time.process_time() - started < 10
    assert once[0].as_py() == unicodedata.normalize("NFC", few)
    assert once[1].as_py() == unicodedata.normalize("NFC", "나" + "\u0323\u0301" * (MARKS // 2))
    assert once[2].as_py() == f"{once[1]} 다 {once[0]}"
    assert normalize_text(once, Normalize()) == once


# What composes, or is to be put in order: marks of many classes, jamo, compatibility ideographs, exclusions.
_ACTIVE = [chr(cp) for cp in range(0x80, 0x30000) if not 0xAC00 <= cp <= 0xD7A3
           and (unicodedata.combining(chr(cp)) or unicodedata.decomposition(chr(cp))[:1] not in ("", "<"))]  # fmt: skip
_JAMO = [chr(cp) for cp in (*range(0x1100, 0x1200), *range(0xA960, 0xA97D), *range(0xD7B0, 0xD7FC), 0xAC00, 0xAC01)]
active = st.lists(
    st.one_of(
        st.sampled_from(_ACTIVE),
        st.sampled_from(_JAMO),
        st.sampled_from("aeoAE가 각글\n\u0301\u0323\u0307\u0344\u0f73\u1100\u1161\u11a8\u0915\u093c"),
        smooth,
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
).map("".join)


@settings(max_examples=500)
@given(st.lists(active, max_size=4), st.integers(0, 1))
def test_compose_is_pythons_nfc(texts: list[str], skip: int) -> None:
    column = pa.array(texts, pa.string())[skip:]
    composed = string_array(*compose(*string_buffers(column), canonical()))
    assert composed.to_pylist() == [unicodedata.normalize("NFC", text) for text in texts[skip:]]


def test_compose_of_every_character_and_every_pair_that_composes() -> None:
    every = [chr(cp) for cp in range(0x110000) if not 0xD800 <= cp < 0xE000]
    seconds = [chr(cp) for cp in np.flatnonzero(kernel.suspects())]
    texts = [*every, *(a + b for a in _ACTIVE for b in seconds), *(chr(0xAC00 + i) + "\u11a8" for i in range(11172))]
    composed = string_array(*compose(*string_buffers(pa.array(texts, pa.string())), canonical()))
    assert composed.to_pylist() == [unicodedata.normalize("NFC", text) for text in texts]


@given(st.lists(st.one_of(active, awkward), max_size=4))
def test_what_composes_is_normalized_as_plain_python_would_do_it(texts: list[str]) -> None:
    assert normalize_text(pa.array(texts, pa.string()), Normalize()).to_pylist() == [plain(text) for text in texts]


def test_marks_that_only_decompose_to_marks_are_bounded_too() -> None:
    once = normalize_text(pa.array(["나" + "\u0f73" * 1_000_000], pa.string()), Normalize())
    assert once[0].as_py() == "나" + "\u0f71" * (MARKS // 2) + "\u0f72" * (MARKS // 2)
