"""What a person sees while a job works and when it is done."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from malmungchi.pipelines.plan.planner import counted, human
from malmungchi.schemas.release import Manifest
from malmungchi.transforms.io import progress
from malmungchi.transforms.io.storage import StorageError

_LINE_SECONDS = 5.0
_BAR_SECONDS = 0.25
_ELSEWHERE_SECONDS = 10.0
_PATIENCE_SECONDS = 2.0


def _progress(name: str, expected: int, seconds: float) -> tuple[int, str]:
    """(how much of what is expected is done, in words)"""
    documents, size = progress.totals()[name]
    if name == "deduplicate":
        return documents, f"{documents:,} of {expected:,} tasks, {human(size)} read, {human(size / seconds)}/s"
    return size, f"{documents:,} documents, {human(size)}, {human(size / seconds)}/s"


def _console(stream: TextIO) -> Console:
    """A console that shows names and texts as they are: what looks like rich's markup is none."""
    return Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)


class Display:
    """Progress of a job's stages: a bar on a terminal, plain lines otherwise, nothing when quiet.

    `seconds` collects how long each stage took. Of workers elsewhere only their finished tasks are seen, which
    `elsewhere` counts in words.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self.seconds: dict[str, float] = {}
        self.elsewhere: Callable[[], str] | None = None

    def say(self, text: str) -> None:
        """One plain line."""
        if not self._quiet:
            print(text, file=self._stream, flush=True)

    @contextmanager
    def stage(self, name: str, expected: int) -> Iterator[None]:
        """Shows a stage's progress until the block ends; about so many bytes will pass through it (of deduplicate: so
        many tasks)."""
        stop, failed = threading.Event(), threading.Event()
        show = self._bar if self._stream.isatty() else self._lines
        thread = threading.Thread(target=show, args=(name, expected, stop, failed), daemon=True)
        start = time.monotonic()
        if not self._quiet:
            thread.start()
        try:
            yield
        except BaseException:
            failed.set()
            raise
        finally:
            self.seconds[name] = time.monotonic() - start
            stop.set()
            if not self._quiet:
                thread.join(_PATIENCE_SECONDS if self.elsewhere else None)  # it may be waiting for a store

    def _lines(self, name: str, expected: int, stop: threading.Event, failed: threading.Event) -> None:
        start = time.monotonic()
        while not stop.wait(_ELSEWHERE_SECONDS if self.elsewhere else _LINE_SECONDS):
            if self.elsewhere:
                self.say(f"{name}: finished tasks: {self._seen()}")
                continue
            done, detail = _progress(name, expected, time.monotonic() - start)
            passed = time.monotonic() - start
            left = f", about {passed * (expected - done) / done:.0f} s left" if 0 < done < expected else ""
            self.say(f"{name}: {detail}{left}")
        if not failed.is_set():
            self.say(f"{name}: {self._summary(name)}")

    def _seen(self) -> str:
        with contextlib.suppress(OSError, StorageError):  # the next look may succeed
            return self.elsewhere() if self.elsewhere else ""
        return "not known at the moment"

    def _summary(self, name: str) -> str:
        documents, size = progress.totals()[name]
        seconds = self.seconds[name]
        if not documents or name == "deduplicate":
            return f"done in {seconds:.1f} s"
        return f"{documents:,} documents, {human(size)} in {seconds:.1f} s ({human(size / seconds)}/s)"

    def _bar(self, name: str, expected: int, stop: threading.Event, failed: threading.Event) -> None:
        columns = (
            TextColumn("{task.description:<12}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=_console(self._stream)) as bar:
            task = bar.add_task(name, total=expected or None, detail="")
            start = time.monotonic()
            while not stop.wait(_ELSEWHERE_SECONDS if self.elsewhere else _BAR_SECONDS):
                if self.elsewhere:
                    bar.update(task, total=None, detail=self._seen())
                    continue
                done, detail = _progress(name, expected, time.monotonic() - start)
                bar.update(task, completed=done, detail=detail)
            if failed.is_set():
                return
            total = expected or 1
            bar.update(task, completed=total, total=total, detail=self._summary(name))

    def finish(self, manifest: Manifest, output: str, reused: str = "") -> None:
        """The closing table: in, kept, rejected by reason, and the time of each step; what an earlier attempt did."""
        if self._quiet:
            return
        counts = manifest.counts
        table = Table(title=f"{output}", title_justify="left", show_edge=False)
        table.add_column("documents")
        table.add_column("count", justify="right")
        table.add_column("share", justify="right")
        total = counts["input"] or 1
        table.add_row("input", f"{counts['input']:,}", "100 %")
        for reason, count in counts["rejected"].items():
            table.add_row(f"- {reason}", f"{count:,}", f"{count / total:.1%}")
        table.add_row("= kept", f"{counts['kept']:,}", f"{counts['kept'] / total:.1%}", style="bold")
        console = _console(self._stream)
        console.print(table)
        others = [f"{name} {count:,}" for name, count in list(manifest.languages.items())[:12]]
        if others:
            console.print("languages detected: " + ", ".join(others))
        times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        shards = sum(file.path.startswith("data/") for file in manifest.files)
        text = sum(file.text_bytes for file in manifest.files)
        console.print(f"{human(text)} of text in {counted(shards, 'shard')}; {times}")
        if reused:
            console.print(f"reused from an earlier attempt: {reused}")
        for warning in manifest.warnings:
            console.print(f"warning: {warning}", style="yellow")
        console.print(f"release: {output}\nsummary: {output}/README.md, {output}/manifest.json")
