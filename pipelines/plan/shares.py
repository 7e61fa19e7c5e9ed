"""How the reading of a job's files is dealt out to its workers."""

from __future__ import annotations

from malmungchi.schemas.plan import Plan
from malmungchi.schemas.work import Share
from malmungchi.transforms.formats.split import bundles, expected_bytes

# Where items are dealt out by chance it takes so many for each worker to be even; and workers of a cluster of unknown
# size. Local runners deal them out in turn: then it is enough that those at the end are small.
_ITEMS_BY_CHANCE = 32
_WORKERS = 64
_LAST = 2


def shares(plan: Plan, workers: int, local: bool) -> list[Share]:
    """For so many workers, 0 for nobody knows how many. The largest file comes first; what is read by one task alone
    is not read twice. Locally no task has more than a part of what is left to each worker when its turn comes."""
    workers = workers or _WORKERS
    sized = [(sum(map(expected_bytes, files)), files) for files in bundles(plan.files, plan.chunk_bytes)]
    sized.sort(key=lambda each: (-each[0], each[1][0].ordinal))
    left = plan.input_bytes
    share = left // (_ITEMS_BY_CHANCE * workers)
    found = []
    for number, (size, (file, *more)) in enumerate(sized):
        if local and number % workers == 0:
            share = left // (_LAST * workers)
        found.append(Share(file, max(share, plan.chunk_bytes), workers, more))
        left -= size
    return found
