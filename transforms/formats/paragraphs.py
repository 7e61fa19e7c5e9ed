"""Texts that are lists of strings, nested or not: their parts become lines of one text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

BREAK = "\n"


def _parts(value: Any) -> Iterator[str]:
    """The strings of a nested list, without nulls. Raises TypeError for anything else in it."""
    if isinstance(value, list):
        for member in value:
            yield from _parts(member)
    elif isinstance(value, str):
        yield value
    elif value is not None:
        raise TypeError


def of_json(value: bytes) -> str | None:
    """The text of a JSON value that is a list of strings, nested or not; None if it is something else."""
    if not value.startswith(b"["):
        return None
    try:
        return BREAK.join(_parts(orjson.loads(value)))
    except (TypeError, orjson.JSONDecodeError):
        return None


def _is_list(kind: pa.DataType) -> bool:
    views = pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(views or lists)


def is_text_list(kind: pa.DataType) -> bool:
    """Whether a column of this type has lists of strings, nested or not."""
    if not _is_list(kind):
        return False
    inner = kind.value_type
    if pa.types.is_dictionary(inner):
        inner = inner.value_type
    texts = (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view())
    return inner in texts or is_text_list(inner)


def of_lists(column: pa.Array) -> pa.Array:
    """The texts of a column of lists of strings as binary, null where there is no list."""
    values = pc.list_flatten(column)
    if _is_list(values.type):
        values = of_lists(values)
    elif pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    values = values.cast(pa.binary())
    parents = pc.list_parent_indices(column).to_numpy()
    there = np.asarray(values.is_valid())
    counts = np.bincount(parents[there], minlength=len(column))
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, values.drop_null())
    return pc.if_else(column.is_valid(), pc.binary_join(lists, BREAK.encode()), None)
