"""Dates as people write them, to seconds since 1970, over a whole column."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
BAD = np.iinfo(np.int64).min
# Not Python's numbers: numba would compile a function anew for each that it is given.
_YEAR, _MONTH, _DAY = (np.int64(int.from_bytes(mark.encode(), "big")) for mark in "년월일")
_TWO, _MANY = np.int64(2), np.int64(32)


@numba.njit(cache=True, nogil=True)
def _digits(data: Any, i: int, end: int, most: int) -> Any:
    """(number, index behind it) of up to `most` digits at `i`."""
    value = 0
    stop = min(end, i + most)
    while i < stop and 48 <= data[i] <= 57:
        value = value * 10 + int(data[i]) - 48
        i += 1
    return value, i


@numba.njit(inline="always")
def _spaces(data: Any, i: int, end: int) -> int:
    while i < end and data[i] == 32:
        i += 1
    return i


@numba.njit(cache=True, nogil=True)
def _date(year: int, month: int, day: int) -> int:
    """Seconds of a day of the Gregorian calendar, or BAD. The formula is H. Hinnant's days_from_civil."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if year < 1 or month < 1 or month > 12 or day < 1 or day > _DAYS[month - 1] + (leap and month == 2):
        return BAD
    y = year - (month <= 2)
    era, yoe = y // 400, y % 400
    doy = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return (era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468) * 86400


@numba.njit(cache=True, nogil=True)
def _syllable(data: Any, i: int, end: int, bytes_: int) -> bool:
    """Whether the three bytes of a syllable stand at `i`."""
    return i + 2 < end and np.int64(data[i]) << 16 | np.int64(data[i + 1]) << 8 | np.int64(data[i + 2]) == bytes_


@numba.njit(cache=True, nogil=True)
def _calendar(data: Any, i: int, end: int, year: int) -> Any:
    """(seconds or BAD, index behind it) of a date whose year ends at `i`: 2023-05-03, 2023. 5. 3., 2023년 5월 3일."""
    korean = _syllable(data, i, end, _YEAR)
    mark = data[i]
    if not korean and mark != 45 and mark != 46 and mark != 47:  # - . /
        return BAD, i
    month, j = _digits(data, _spaces(data, i + (3 if korean else 1), end), end, _TWO)
    if not (_syllable(data, j, end, _MONTH) if korean else j < end and data[j] == mark):
        return BAD, i
    day, j = _digits(data, _spaces(data, j + (3 if korean else 1), end), end, _TWO)
    if korean:
        if not _syllable(data, j, end, _DAY):
            return BAD, i
        j += 3
    elif mark == 46 and j < end and data[j] == 46:
        j += 1
    return _date(year, month, day), j


@numba.njit(cache=True, nogil=True)
def _time(data: Any, i: int, end: int) -> int:
    """Seconds to add for the time of day at `i`, with its zone: 12:30, 12:30:05.123Z, 123005+0900; or BAD."""
    hour, j = _digits(data, i, end, _TWO)
    if j != i + 2 or hour > 23:
        return BAD
    colon = j < end and data[j] == 58
    i = j + colon
    minute, j = _digits(data, i, end, _TWO)
    if j != i + 2 or minute > 59:
        return BAD
    second = 0
    if j < end and (data[j] == 58 if colon else 48 <= data[j] <= 57):
        i = j + colon
        second, j = _digits(data, i, end, _TWO)
        if j != i + 2 or second > 60:
            return BAD
        if j + 1 < end and (data[j] == 46 or data[j] == 44) and 48 <= data[j + 1] <= 57:
            _, j = _digits(data, j + 1, end, _MANY)
    seconds = hour * 3600 + minute * 60 + second
    i = _spaces(data, j, end)
    if i == end or (i + 1 == end and data[i] | 32 == 122):  # nothing, or Z
        return seconds
    if i + 3 == end and data[i] == 85 and data[i + 1] == 84 and data[i + 2] == 67:  # UTC
        return seconds
    if data[i] != 43 and data[i] != 45:
        return BAD
    sign = 1 if data[i] == 45 else -1
    hour, j = _digits(data, i + 1, end, _TWO)
    if j != i + 3 or hour > 23:
        return BAD
    minute = 0
    if j < end:
        i = j + (data[j] == 58)
        minute, j = _digits(data, i, end, _TWO)
        if j != i + 2 or minute > 59:
            return BAD
    return seconds + sign * (hour * 3600 + minute * 60) if j == end else BAD


@numba.njit(cache=True, nogil=True)
def _one(data: Any, i: int, end: int) -> int:
    i = _spaces(data, i, end)
    while end > i and data[end - 1] == 32:
        end -= 1
    number, j = _digits(data, i, end, np.int64(19))
    count = j - i
    if count == 8:  # 20230503
        day = _date(number // 10000, number // 100 % 100, number % 100)
    elif count == 4 and j < end:
        day, j = _calendar(data, j, end, number)
    elif count == 14 and j == end:  # 20230503123005
        rest = _time(data, i + 8, end)
        day = _date(number // 10**10, number // 10**8 % 100, number // 10**6 % 100)
        return day + rest if day != BAD and rest != BAD else BAD
    else:
        if j < end and data[j] == 46 and count <= 10:  # a fraction of a second
            _, j = _digits(data, j + 1, end, _MANY)
        if j < end:
            return BAD
        if 9 <= count <= 10:
            return number
        if 12 <= count <= 13:
            return number // 1000
        return number // 1000000 if 15 <= count <= 16 else BAD
    if day == BAD or j == end:
        return day
    after = _spaces(data, j, end)
    if after == j:
        if data[j] | 32 != 116:  # T
            return BAD
        after = j + 1
    rest = _time(data, after, end)
    return day + rest if rest != BAD else BAD


@numba.njit(cache=True, nogil=True)
def parse(data: Any, offsets: Any, out: Any) -> None:
    """Seconds since 1970 (UTC) of each string data[offsets[i]:offsets[i + 1]] to out[int64]; BAD where it is no date.

    Read are: ISO 8601 dates and times in their usual forms, dates with . or / or 년 월 일, YYYYMMDD[HHMMSS], and
    seconds, milli- or microseconds since 1970 of 9 to 10, 12 to 13 and 15 to 16 digits (from 1973 on: a shorter
    number is more likely a year or a count). A time without zone is UTC; a fraction of a second is dropped.
    """
    for row in range(len(out)):
        out[row] = _one(data, offsets[row], offsets[row + 1])
