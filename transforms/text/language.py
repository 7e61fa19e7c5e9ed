"""Korean or not: by script first, by langdetect only where script does not decide."""

from __future__ import annotations

import dataclasses
import threading
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from malmungchi.schemas.chunk import Chunk
from malmungchi.schemas.config import Language
from malmungchi.schemas.document import LANGUAGE
from malmungchi.transforms.kernels import language as kernels
from malmungchi.transforms.kernels.utf8 import string_array, string_buffers
from malmungchi.transforms.text.base import Drops, Outcome, RunStep, apply


class LanguageRule(StrEnum):
    """Why a document is dropped."""

    NOT_KOREAN = "not_korean"
    MIXED = "mixed"  # only without `keep_mixed`
    NO_LETTERS = "no_letters"
    PRIVATE_USE = "private_use"  # no letters but code points that only certain fonts give a shape


_RULES = ("", LanguageRule.NOT_KOREAN, LanguageRule.MIXED, LanguageRule.NO_LETTERS, LanguageRule.PRIVATE_USE)

# What a script says of the language, where it says one. Latin is many languages, and stays a script.
_BY_SCRIPT = {
    "none": "und", "latin": "Latn", "hangul": "ko", "han": "zh", "kana": "ja", "cyrillic": "ru", "arabic": "ar",
    "devanagari": "hi", "bengali": "bn", "tamil": "ta", "telugu": "te", "malayalam": "ml", "thai": "th", "lao": "lo",
    "khmer": "km", "myanmar": "my", "greek": "el", "hebrew": "he", "georgian": "ka", "armenian": "hy", "ethiopic": "am",
    "other": "und",
}  # fmt: skip
_NAMES = (*(_BY_SCRIPT[name] for name in kernels.SCRIPTS), "ko-mixed")
_MIXED = len(kernels.SCRIPTS)

# Where Hangul is not the plain answer, this much prose is looked at (bytes), and shown to langdetect (characters).
_PROSE_BYTES = 32 << 10
_SAMPLE_CHARS = 2000
# Below this share of all letters, code and markup included, no prose is looked for: a menu of languages, a name.
_TRACE = 0.005
# With a fifth of all letters in Hangul, a quarter of the letters of the prose is enough: a Korean sentence takes
# about half the letters of its English translation, so that this much is nearly half of what is said.
_BALANCED = (0.20, 0.25)
# Text in Hanja with Korean suffixes: shares of Hangul in letters, of suffixes in runs of Hangul, and their number.
_HANJA_SHARE, _SUFFIX_SHARE, _SUFFIXES = 0.02, 0.5, 2
_CHINESE_SHARE = 0.01  # of characters only Chinese uses, in Han; Korean may quote a few
_KANA_SHARE = 0.05  # of kana and Han together, from which they are Japanese
_LATIN_WEIGHT = 20  # so many Latin letters go with one of another script in documents with much code


class Verdicts(NamedTuple):
    """The columns of schemas.document.LANGUAGE, and why a row is to go: a rule ("" keeps it) with what was seen."""

    language: pa.StringArray
    detector: pa.StringArray
    score: pa.FloatArray
    hangul_share: np.ndarray
    chars: np.ndarray
    letters: np.ndarray
    rule: pa.StringArray
    seen: pa.StringArray


_lock = threading.Lock()


def _ask(sample: str) -> tuple[str, float]:
    """(language, probability) by langdetect; ("und", 0.0) when it finds nothing to go by."""
    # Imported when first asked: its profiles take a quarter of a second to load. Threads share its seed.
    from langdetect import DetectorFactory, LangDetectException, detect_langs

    with _lock:
        DetectorFactory.seed = 0
        try:
            best = detect_langs(sample)[0]
        except (LangDetectException, IndexError):
            return "und", 0.0
    return best.lang, float(best.prob)


def load_detector() -> None:
    """Loads langdetect and its profiles now and not at the first question, in each worker."""
    _ask("미리 불러 둡니다")


def _shares(hangul: np.ndarray, letters: np.ndarray) -> np.ndarray:
    return hangul / np.maximum(letters, 1)


def classify(text: pa.StringArray, config: Language) -> Verdicts:
    """The language of each document of a column of NFC text without nulls.

    A document is Korean (ko) when at least `korean_share` of its letters are Hangul, or when it is written in Hanja
    with Korean suffixes. It is ko-mixed when its prose is Korean between code, markup or another language: at least
    `mixed_share` of its letters without marked code (fences, tags, addresses), and at least `prose_share` of those
    in lines and words that do not look like code. Where the prose has less than that, but at least `korean_share`,
    langdetect is asked about it. Anything else is named by its most frequent script.

    Without `drop` no row has a rule: the language is all that is said of it, "und" where there is no letter.
    """
    data, offsets = string_buffers(text)
    table = kernels.script_table()
    counts = kernels.count_scripts(data, offsets, table, len(kernels.SCRIPTS))
    chars = counts[:, kernels.CHARS].copy()
    counts[:, kernels.CHARS] = 0
    letters = counts.sum(axis=1, dtype=np.int32)
    hangul, han, kana = counts[:, kernels.HANGUL], counts[:, kernels.HAN], counts[:, kernels.KANA]
    share = _shares(hangul, letters)
    foreign = _foreign(counts)

    # Where another East Asian script outweighs it, enough Hangul makes a mixture at most.
    outweighed = (kana > 0) & (hangul < kana + han)
    verdict = np.where(share >= config.korean_share, np.where(outweighed, _MIXED, kernels.HANGUL), foreign)
    asked = np.zeros(len(text), np.bool_)
    score = np.zeros(len(text), np.float32)
    open_ = (hangul > 0) & (share < config.korean_share)

    rows = np.flatnonzero(open_ & (han > counts[:, kernels.LATIN]) & (share >= _HANJA_SHARE) & (kana == 0))
    if len(rows):
        runs, attached, chinese = kernels.hangul_after_han(data, offsets, rows, table, kernels.hanja_table()).T
        suffixed = (attached >= _SUFFIXES) & (attached >= _SUFFIX_SHARE * runs)
        verdict[rows[suffixed & (chinese <= _CHINESE_SHARE * han[rows])]] = kernels.HANGUL

    rows = np.flatnonzero(open_ & (share >= _TRACE) & (hangul > han + kana))
    if len(rows):
        found = kernels.prose(data, offsets, rows, kernels.byte_table(), _PROSE_BYTES)
        inner = kernels.count_scripts(found[0], found[1], table, len(kernels.SCRIPTS))
        inner[:, kernels.CHARS] = 0
        total = inner.sum(axis=1)
        in_prose = _shares(inner[:, kernels.HANGUL], total)
        in_text = _shares(inner[:, kernels.HANGUL], total + found[2])
        korean = (in_prose >= config.prose_share) | (in_text >= _BALANCED[0]) & (in_prose >= _BALANCED[1])
        possible = in_text >= config.mixed_share
        verdict[rows[korean & possible]] = _MIXED
        texts = string_array(found[0], found[1])
        for n in np.flatnonzero(possible & ~korean & (in_prose >= config.korean_share)):
            language, probability = _ask(texts[n].as_py()[:_SAMPLE_CHARS])
            asked[rows[n]], score[rows[n]] = True, probability
            if language == "ko":
                verdict[rows[n]] = _MIXED

    rule = np.where(letters == 0, 3, np.where(verdict == kernels.HANGUL, 0, 1))
    bare = np.flatnonzero(letters == 0)
    if len(bare):
        private = pc.match_substring_regex(text.take(pa.array(bare)), "[\ue000-\uf8ff]").to_numpy(zero_copy_only=False)
        rule[bare[private]] = 4
    rule[verdict == _MIXED] = 0 if config.keep_mixed else 2
    if not config.drop:
        rule[:] = 0
    return Verdicts(
        _words(verdict, _NAMES),
        _words(asked.astype(np.int8), ("script", "langdetect")),
        pa.array(score, pa.float32(), mask=~asked),
        share.astype(np.float32),
        chars,
        letters,
        _words(rule, _RULES),
        _seen(verdict, rule > 0, share, letters),
    )


def _foreign(counts: np.ndarray) -> np.ndarray:
    """int: the script that names the language of each row, Hangul aside; kana where Han goes with it; 0 for no letters.

    Latin only where hardly anything else is, as code and markup are Latin everywhere.
    """
    others = counts.astype(np.int64)
    others[:, kernels.HANGUL] = 0
    han, kana = others[:, kernels.HAN], others[:, kernels.KANA]
    japanese = kana > _KANA_SHARE * (han + kana)
    kana[:] = np.where(japanese, han + kana, kana)
    han[japanese] = 0
    others[:, kernels.LATIN] //= _LATIN_WEIGHT
    return np.where(others.any(axis=1), others.argmax(axis=1), np.where(counts[:, kernels.LATIN] > 0, kernels.LATIN, 0))


def _words(codes: np.ndarray, names: tuple[str, ...]) -> pa.StringArray:
    return pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(names, pa.string())).cast(pa.string())


def _seen(verdict: np.ndarray, dropped: np.ndarray, share: np.ndarray, letters: np.ndarray) -> pa.StringArray:
    """For dropped rows the language seen, a space, and the evidence; null for the others."""
    seen: list[str | None] = [None] * len(verdict)
    for row in np.flatnonzero(dropped):
        seen[row] = f"{_NAMES[verdict[row]]} hangul={share[row]:.3f} letters={letters[row]}"
    return pa.array(seen, pa.string())


class LanguageStep:
    """Adds the columns of LANGUAGE, and drops the rows that are not Korean (with `drop`).

    A reject's value begins with the language seen, up to the first space; a row that stays has the same in `language`.
    """

    name: ClassVar[str] = "language"
    columns: ClassVar[tuple[pa.Field, ...]] = tuple(LANGUAGE)
    rules: ClassVar[type[StrEnum]] = LanguageRule
    settings: ClassVar[type[Any] | None] = Language

    def __call__(self, rows: pa.RecordBatch, settings: Language) -> Outcome:
        found = classify(rows["text"], settings)
        columns = [
            found.language,
            found.detector,
            found.score,
            pa.array(found.hangul_share),
            pa.array(found.chars),
            pa.array(found.letters),
        ]
        dropped = np.array([rule != "" for rule in found.rule.to_pylist()], np.bool_)
        threshold = f"korean_share={settings.korean_share:g} mixed_share={settings.mixed_share:g}"
        lettered = found.letters > 0
        measured = np.where(lettered, found.hangul_share, np.nan)
        bound = np.where(lettered, settings.korean_share, np.nan)
        drops = Drops(dropped, found.rule, found.seen, threshold, measured, bound)
        names = [field.name for field in LANGUAGE]
        return Outcome(dict(zip(names, columns, strict=True)), drops)


def filter_language(chunk: Chunk, config: Language) -> Chunk:
    """The chunk with the columns of LANGUAGE, without the rows that are not Korean (with them where `drop` is off)."""
    return apply(chunk, LanguageStep(), config)


@dataclasses.dataclass
class FilterLanguage(beam.PTransform):
    """PCollection[Chunk] to the same with language columns; rows that are not Korean go to the chunk's rejects, unless
    `drop` is off."""

    config: Language = dataclasses.field(default_factory=Language)

    def expand(self, chunks: beam.PCollection[Chunk]) -> beam.PCollection[Chunk]:
        return chunks | RunStep(LanguageStep(), self.config)
