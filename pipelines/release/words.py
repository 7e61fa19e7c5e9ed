"""Answers of `inspect` in words."""

from __future__ import annotations

from collections.abc import Iterator

from malmungchi.pipelines.release.find import Answer, Row

# Characters of a value that are shown; and of a text that is asked for.
_EXCERPT = 200
_TEXT = 2_000


def _show(row: Row) -> str:
    lines = []
    for name, value in row.items():
        if value is None or name in ("dropped", "dropped_total"):
            continue
        text = str(value)
        most = _TEXT if name == "text" and "hangul_share" not in row else _EXCERPT  # of a dropped row it is asked for
        if len(text) > most:
            text = f"{text[:most]}… ({len(text):,} characters)"
        lines.append(f"  {name:<18}{text}".replace("\n", "\n" + " " * 20))
    return "\n".join(lines)


def _more(count: int, shown: int) -> Iterator[str]:
    """A line for what is beyond the limit, if there is anything."""
    if count > shown:
        yield f"    and {count - shown:,} more (--limit shows more)"


def _pair(pair: Row, indent: str) -> str:
    return f"{indent}{pair['dropped_id']}  {pair['rule']}  {pair['score']:.4f}"


def _place(row: Row) -> str:
    return f"{row['file']} row {row['row']}"


def fate(answer: Answer, threshold: float) -> Iterator[str]:
    """What became of the documents that were looked up; `threshold` is that of near-duplicates."""
    for row in answer.kept:
        yield f"{row['id']}: kept, from {_place(row)}"
        yield (
            f"  language: {row['language']}, decided by {row['language_detector']} "
            f"(Hangul is {row['hangul_share']:.1%} of {row['letters']} letters)"
        )
        if row["duplicate_count"] > 1:
            yield f"  stands for {row['duplicate_count']} documents, itself included; dropped in its favour:"
            yield from (_pair(pair, "    ") for pair in row["dropped"])
            yield from _more(row["dropped_total"], len(row["dropped"]))
        yield _show(row)
    yield from _more(answer.total["kept"], len(answer.kept))
    for row in answer.duplicates:
        yield f"{row['dropped_id']}: dropped at deduplicate by rule {row['rule']}, from {_place(row)}"
        near = f", threshold {threshold}" if row["rule"] == "near_duplicate" else ""
        yield f"  similarity {row['score']:.4f}{near}; kept in its place: {row['kept_id']}"
        yield from _text(row)
    yield from _more(answer.total["duplicates"], len(answer.duplicates))
    for row in answer.rejects:
        yield f"{row['id'] or _place(row)}: dropped at {row['step']} by rule {row['rule']}, from {_place(row)}"
        yield f"  value {row['value']}" + (f", threshold {row['threshold']}" if row["threshold"] is not None else "")
        yield from _text(row)
    yield from _more(answer.total["rejects"], len(answer.rejects))


def _text(row: Row) -> Iterator[str]:
    if found := {name: row[name] for name in ("text", "no_text") if row.get(name) is not None}:
        yield _show(found)


def clusters(answer: Answer) -> Iterator[str]:
    """The clusters, or that there are none."""
    if not answer.clusters:
        yield "no duplicates were dropped"
    for cluster in answer.clusters:
        yield f"{cluster['kept_id']}: stands for {cluster['dropped_total'] + 1} documents"
        yield from (_pair(pair, "  ") for pair in cluster["dropped"])


def rows(answer: Answer) -> Iterator[str]:
    """The rows as they are, column by column."""
    found = [*answer.kept, *answer.rejects, *answer.duplicates]
    yield from (_show(row) + "\n" for row in found)
    if not found:
        yield f"{answer.asked['folder']}/ holds no rows"
