"""Where the time of refine goes: each step's pure function over the files' chunks, on one core.

    python -m benchmarks.steps [FILES …]

MB are 10^6 bytes of decompressed input, the same for every step, so that the columns add up.
"""

from __future__ import annotations

import argparse
import glob
import tempfile
import time
from collections import defaultdict

import pyarrow as pa

from benchmarks.build import CORPUS, decompressed
from pipelines.plan import make_plan
from schemas.config import Config
from transforms import task
from transforms.cut import cut
from transforms.fingerprint import fingerprint
from transforms.language import filter_language
from transforms.normalize import normalize
from transforms.read import read_item
from transforms.stage import stage


def measure(files: list[str]) -> dict[str, float]:
    """CPU seconds by step."""
    config = Config()
    plan = make_plan(files, config)
    seconds: dict[str, float] = defaultdict(float)
    clock = time.process_time

    with tempfile.TemporaryDirectory(prefix="malmungchi-bench-") as staging:
        start = clock()
        items = [
            item for file in plan.files for item in cut(file, staging, config.read, config.execution.chunk_bytes).items
        ]
        seconds["cut"] = clock() - start
        for item in items:
            chunks = read_item(item, config.read, config.execution.chunk_bytes)
            while True:
                start = clock()
                chunk = next(chunks, None)
                seconds["read"] += clock() - start
                if chunk is None:
                    break
                for name, step in (
                    ("normalize", lambda c: normalize(c, config.normalize)),
                    ("language", lambda c: filter_language(c, config.language)),
                    ("fingerprint", lambda c: fingerprint(c, config.fingerprint)),
                ):
                    start = clock()
                    chunk = step(chunk)
                    seconds[name] += clock() - start
                start = clock()
                name = f"refine/{chunk.item}.{chunk.sequence}"
                last = chunk
                task.run(
                    staging, name, lambda s, c=last: stage(c, s, plan.layout, config.fingerprint, config.deduplicate)
                )
                seconds["stage"] += clock() - start
    return dict(seconds)


def main() -> None:
    """Prints seconds, ms per MB and MB/s of each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="input files (default: the corpus beside the project)")
    files = parser.parse_args().files or sorted(glob.glob(str(CORPUS)))
    if not files:
        parser.error("no input files, and no corpus beside the project")
    pa.set_cpu_count(1)
    measure(files[:1])  # kernels are loaded
    seconds = measure(files)
    size = decompressed(files) / 1e6
    for name, value in [*seconds.items(), ("all", sum(seconds.values()))]:
        print(f"{name:<12}{value:8.2f} s {1000 * value / size:8.2f} ms/MB {size / value:8.0f} MB/s")


if __name__ == "__main__":
    main()
