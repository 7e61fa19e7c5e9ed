"""Whether the sources that `deduplicate.priority` names can be there, which may be known before the work."""

from __future__ import annotations

from malmungchi.schemas.plan import Plan
from malmungchi.schemas.settings import did_you_mean
from malmungchi.transforms.formats.rows import default_source

# Sources that a message names.
_NAMED = 20


def warning(plan: Plan) -> str:
    """What to say of names in `deduplicate.priority` that no input gives and no column can; empty if there are none.

    A column for the source can give any name, so of a job that has one in some file nothing is known before.
    """
    asked = plan.config.deduplicate.priority
    if not asked or not plan.files or any(file.columns.source for file in plan.files):
        return ""
    sources = sorted({default_source(file) for file in plan.files})
    strangers = [name for name in asked if name not in sources]
    if not strangers:
        return ""
    hint = did_you_mean(strangers[0], sources) or "."
    more = f" and {len(sources) - _NAMED:,} more" if len(sources) > _NAMED else ""
    return (
        f"deduplicate.priority names sources that cannot be there: {', '.join(strangers)}{hint} No input has a column "
        "for the source, so the sources are as inputs, folders and files are named: "
        f"{', '.join(sources[:_NAMED])}{more}. Write one of these, give an input a `source`, or set read.source"
    )
