"""The manifest of what a job has published, once all its counts have been checked."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from malmungchi.pipelines.job import inventory
from malmungchi.pipelines.plan import recall
from malmungchi.pipelines.plan.planner import sample_of
from malmungchi.pipelines.runners.versions import versions
from malmungchi.schemas.errors import CountError
from malmungchi.schemas.plan import Plan
from malmungchi.schemas.release import SCHEMA_VERSION, Manifest
from malmungchi.transforms.exchange.counts import MOST, OTHERS


def make_manifest(plan: Plan, refined: inventory.Refined, published: inventory.Published) -> Manifest:
    """The manifest of what has been published. Raises CountError unless input = kept + rejected, per source too."""
    read = refined.counts
    out = published.counts.among(read.named)
    reasons: Counter[str] = Counter()
    by_source: dict[str, Counter[str]] = defaultdict(Counter)
    languages: Counter[str] = Counter(read.languages)
    broken: Counter[str] = Counter()
    for (step, rule, language, source), count in read.rejected.items():
        reasons[f"{step}.{rule}"] += count
        by_source[source][f"{step}.{rule}"] += count
        if step == "language":
            languages[language] += count
        if step == "read" and rule in ("truncated", "corrupt"):
            broken[rule] += count
    for (rule, source), count in out.dropped.items():
        reasons[f"deduplicate.{rule}"] += count
        by_source[source][f"deduplicate.{rule}"] += count
    kept = sum(out.sources.values())
    total, rejected = read.read, sum(read.rejected.values())
    rows: Counter[str] = Counter()
    for file in published.files:
        rows[file.path.split("/")[0]] += file.rows
    found = {"data": kept, "rejects": rejected, "duplicates": sum(out.dropped.values())}
    gone: Counter[str] = Counter()
    for (_, source), count in out.dropped.items():
        gone[source] += count
    whole = Counter(out.sources) + gone == Counter(read.sources)
    if (
        not whole
        or total != kept + sum(reasons.values())
        or any(rows[folder] != count for folder, count in found.items())
    ):
        raise CountError(
            f"input {total} is not kept {kept} + rejected {sum(reasons.values())}, in all or for a source, or the "
            f"files hold other counts: {dict(rows)}"
        )
    warnings = [
        f"{count} unreadable section(s) in the inputs ({rule}): everything readable was kept, see rejects/"
        for rule, count in sorted(broken.items())
    ]
    warnings += _barren(refined.barren)
    names = sorted(set(by_source) | set(out.sources))
    if total and not kept:
        warnings.append(f"no document was kept of {total:,} read: see rejects/ for the reasons")
    if OTHERS in names:
        warnings.append(
            f"documents name more than {MOST:,} sources: so many are counted one by one, the rest as {OTHERS!r}. If "
            "these are no sources, set read.source, or the inputs' `source`"
        )
    elif strangers := [name for name in plan.config.deduplicate.priority if name not in names]:
        warnings.append(f"deduplicate.priority names sources that no document has: {', '.join(strangers)}")
    if lost := recall.warning(plan.config):
        warnings.append(lost)
    if out.clashes:
        warnings.append(
            f"{out.clashes} document(s) have an id that another one has already: all are kept, and told apart by "
            "file and row"
        )
    return Manifest(
        schema_version=SCHEMA_VERSION,
        config_digest=plan.config.digest(),
        config=plan.config.content(),
        versions=versions(),
        inputs=refined.inputs,
        files=published.files,
        counts={
            "input": total,
            "kept": kept,
            "rejected": dict(sorted(reasons.items())),
            **({"stood_for": read.stood_for} if read.stood_for else {}),
        },
        sources={
            name: {
                "input": out.sources.get(name, 0) + sum(by_source[name].values()),
                "kept": out.sources.get(name, 0),
                "text_bytes": out.source_bytes.get(name, 0),
                "rejected": dict(sorted(by_source[name].items())),
            }
            for name in names
        },
        languages=dict(sorted(languages.items(), key=lambda item: (-item[1], item[0]))),
        warnings=warnings,
        sample=sample_of(plan.config),
        release=dataclasses.asdict(plan.config.release),
        licenses={
            name: {"kept": count, "text_bytes": out.license_bytes.get(name, 0)}
            for name, count in sorted(out.licenses.items())
        },
        near_duplicates=recall.found(plan.config),
    )


# Causes that are named of files without a document.
_CAUSES = 20


def _barren(found: Mapping[str, tuple[int, list[str]]]) -> Iterator[str]:
    """Warnings of files that gave no document, by cause, the commonest first."""
    order = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    for why, (count, names) in order[:_CAUSES]:
        more = f" and {count - len(names):,} more" if count > len(names) else ""
        yield f"{count:,} file{'' if count == 1 else 's'} gave no document ({why}): {', '.join(names)}{more}"
    if rest := sum(count for _, (count, _) in order[_CAUSES:]):
        yield f"{rest:,} more files gave no document: see rejects/ for the causes"
