"""The most memory and time that hostile input costs a whole job: launcher, fork server and workers together.

    python -m benchmarks.hostile [--workers 2] [--limit-mb 2500] [NAMES …]

Each file is built by the command line alone, and all are built at once. A release that does not verify, or more memory
than the limit, is an error. MB are 10^6 bytes; what processes share is counted in each of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.build import build
from malmungchi.pipelines.release import verify
from tests.faults.test_hostile import KEYS, LINES, LONG_LINES, bombs, rows
from tests.unit.transforms.formats.test_footer import of_many_groups

# Of documents at the limit of read.max_text_bytes, and alike but not alike enough, so that they are compared.
_LONGEST = 31 << 20


def _longest(path: Path) -> None:
    def text(count: int) -> str:
        return rows(count).decode().replace('{"text": "', "").replace('"}\n', " ").replace("\\n", " ")

    shared = text(35_000)
    with path.open("w", encoding="utf-8") as file:
        for i in range(6):
            long = ((text(5_000) + shared) * 4).encode()[:_LONGEST].decode(errors="ignore")
            file.write(f'{{"id":"{i}","text":"{long}"}}\n')


def cases() -> dict[str, Callable[[Path], object]]:
    """Name -> what writes the file."""
    columns = {"text": ["아주 작은 행 묶음에 든 글입니다."], "id": ["하나"]}
    return {
        **LONG_LINES,
        **bombs(),
        "keys.jsonl": lambda path: path.write_bytes(KEYS * 4),
        "deep.jsonl": lambda path: path.write_bytes(LINES["deep.jsonl"][0]),
        "longest.jsonl": _longest,
        "groups.parquet": lambda path: path.write_bytes(of_many_groups(1_000_000, columns)),
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(cases())}, all (default: every one)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit-mb", type=float, default=2500)
    arguments = parser.parse_args()
    names = arguments.names or [*cases(), "all"]
    print(f"{'':<20}{'s':>6}{'launcher MB':>14}{'a worker MB':>14}{'all processes MB':>18}")
    most = 0.0
    with tempfile.TemporaryDirectory(prefix="malmungchi-hostile-") as folder:
        for name in names:
            files = [Path(folder) / one for one in (cases() if name == "all" else [name])]
            for file in files:
                cases()[file.name](file)
            output = str(Path(folder) / f"out-{name}")
            figures = build(list(map(str, files)), output, arguments.workers)
            if problems := list(verify.problems(output)):
                sys.exit(f"{name}: {problems}")
            for file in files:
                file.unlink()
            most = max(most, figures["tree_mb"])
            print(f"{name:<20}{figures['wall']:>6.1f}{figures['launcher_mb']:>14.0f}{figures['worker_mb']:>14.0f}"
                  f"{figures['tree_mb']:>18.0f}", flush=True)  # fmt: skip
    if most > arguments.limit_mb:
        sys.exit(f"{most:.0f} MB of memory, more than {arguments.limit_mb:.0f}")


if __name__ == "__main__":
    main()
