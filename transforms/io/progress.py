"""What tasks have done, told to the launcher on the same machine through a folder.

No runner has live counters that all others have too; elsewhere the finished tasks in the staging area tell.
"""

from __future__ import annotations

import os
import struct

# The launcher sets it for its own worker processes; without it reports go nowhere.
FOLDER = "MALMUNGCHI_PROGRESS"

STAGES = ("limit", "refine", "deduplicate", "publish")
_EVENT = struct.Struct("<BQQ")


def report(stage: str, documents: int, size: int) -> None:
    """Says that `documents` documents of `size` bytes have passed a stage; of deduplicate, that many tasks."""
    folder = os.environ.get(FOLDER)
    if folder:
        with open(os.path.join(folder, str(os.getpid())), "ab") as file:
            file.write(_EVENT.pack(STAGES.index(stage), documents, size))


def reported() -> int:
    """Bytes of all reports so far: it grows whenever anything has been done."""
    folder = os.environ.get(FOLDER)
    return sum(entry.stat().st_size for entry in os.scandir(folder)) if folder else 0


def totals() -> dict[str, tuple[int, int]]:
    """(documents, bytes) so far, by stage."""
    folder = os.environ.get(FOLDER)
    sums = {stage: [0, 0] for stage in STAGES}
    for name in os.listdir(folder) if folder else ():
        with open(os.path.join(folder or "", name), "rb") as file:
            data = file.read()
        for stage, documents, size in _EVENT.iter_unpack(data[: len(data) // _EVENT.size * _EVENT.size]):
            sums[STAGES[stage]][0] += documents
            sums[STAGES[stage]][1] += size
    return {stage: (documents, size) for stage, (documents, size) in sums.items()}
