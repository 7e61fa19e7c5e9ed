"""Coverage-guided fuzzing of what reads and cleans: the targets of tests/test_fuzz.py, a million cases and more.

    python -m benchmarks.fuzz lines --runs 200000            compiled, as in a job
    python -m benchmarks.fuzz lines --runs 20000 --plain     kernels as plain Python, so that their branches count

Compiled kernels are opaque to the fuzzer: guided by the readers around them and by the plain references, it does not
see their branches. With `--plain` it does, and is slower. Both keep the cases that led somewhere new in the same folder
(`--corpus`, default: build/fuzz/TARGET), so that the one goes on from what the other finds.

The fuzzer is atheris (pip install atheris; it is no dependency of the project). Without it the cases are blind changes
of the seeds and the folder's files, with the same checks.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Targets whose kernels do not depend on arithmetic modulo 2**64, which plain Python does otherwise.
_PLAIN_TARGETS = ("lines", "names", "dates", "packed", "parquet")


def _stand_in() -> None:
    """Gives the JSON kernel plain functions for what it has as machine instructions."""
    from malmungchi.transforms.kernels import jsonl

    def mask(test: Callable[[int], bool]) -> Callable[[Any, int], int]:
        return lambda data, i: sum(1 << j for j, b in enumerate(data[i : i + 32].tolist()) if test(b))

    def copy_run(data: Any, i: int, out: Any, k: int) -> int:
        out[k : k + 32] = data[i : i + 32]
        return sum(1 << j for j, b in enumerate(data[i : i + 32].tolist()) if b == 92)

    def copy(data: Any, i: int, out: Any, k: int, size: int) -> None:
        out[k : k + size] = data[i : i + size]

    stand_ins = {
        "_special": mask(lambda b: b in (34, 92) or b < 32),
        "_high": mask(lambda b: b >= 128),
        "_newline": mask(lambda b: b == 10),
        "_first": lambda bits: (bits & -bits).bit_length() - 1,
        "_load32": lambda data, i: int.from_bytes(data[i : i + 4].tobytes(), "little"),
        "_copy_run": copy_run,
        "_copy": copy,
    }
    for name, function in stand_ins.items():
        setattr(jsonl, name, function)


def _changed(data: bytes, source: random.Random) -> bytes:
    """A few blind changes."""
    out = bytearray(data)
    for _ in range(source.randrange(1, 6)):
        at, size = source.randrange(len(out) + 1), source.randrange(4)
        new = source.choice(
            [source.randbytes(size), bytes(out[at : at + 8]), b"", bytes([source.choice(b'{}[]":,\\\n0')])]
        )
        out[at : at + source.randrange(4)] = new
    return bytes(out[:4096])


def _blindly(target: Callable[[bytes], None], seeds: list[bytes], runs: int, corpus: Path) -> None:
    source = random.Random(0)
    for _ in range(runs):
        case = source.choice(seeds)
        for _ in range(source.randrange(3)):
            case = _changed(case, source)
        try:
            target(case)
        except BaseException:
            (corpus / "crash").write_bytes(case)
            print(f"the case is in {corpus / 'crash'}: {case!r}", file=sys.stderr)
            raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", help="lines, names, packed, parquet, text, cover or dates")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--plain", action="store_true", help=f"kernels as plain Python: {', '.join(_PLAIN_TARGETS)}")
    parser.add_argument("--corpus", type=Path)
    arguments = parser.parse_args()
    if arguments.plain and arguments.target not in _PLAIN_TARGETS:
        parser.error(f"--plain does {', '.join(_PLAIN_TARGETS)}")
    if arguments.plain:
        os.environ["NUMBA_DISABLE_JIT"] = "1"
    corpus = arguments.corpus or Path("build/fuzz") / arguments.target
    corpus.mkdir(parents=True, exist_ok=True)
    guided = importlib.util.find_spec("atheris") is not None
    if guided:
        import atheris

        kernels = Path(__file__).parent.parent / "transforms" / "kernels"
        compiled = (
            [] if arguments.plain else [f"malmungchi.transforms.kernels.{path.stem}" for path in kernels.glob("*.py")]
        )
        with atheris.instrument_imports(include=["malmungchi.transforms", "tests"], exclude=compiled):
            tests = importlib.import_module("tests.faults.test_fuzz")
    else:
        print("atheris is not installed (pip install atheris): the changes are blind", file=sys.stderr)
        tests = importlib.import_module("tests.faults.test_fuzz")
    if arguments.target not in tests.TARGETS:
        parser.error(f"unknown target {arguments.target!r}; known: {', '.join(tests.TARGETS)}")
    if arguments.plain:
        _stand_in()
    target, seeds = tests.TARGETS[arguments.target], tests.SEEDS[arguments.target]
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    start = time.monotonic()
    if guided:
        options = [f"-runs={arguments.runs}", "-max_len=4096", "-timeout=30", "-rss_limit_mb=8192"]
        atheris.Setup(
            [sys.argv[0], *options, f"-artifact_prefix={corpus}/crash-", "-print_final_stats=1", str(corpus)], target
        )
        atheris.Fuzz()  # ends the process
    seeds = [path.read_bytes() for path in sorted(corpus.iterdir())]
    _blindly(target, seeds, arguments.runs, corpus)
    print(f"{arguments.runs} cases in {time.monotonic() - start:.0f} s, nothing found")


if __name__ == "__main__":
    main()
