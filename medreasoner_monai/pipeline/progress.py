"""Progress of a stage: one small interface, shown in a terminal or as plain lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

log = logging.getLogger("medreasoner")
PAGE_LOG = "medreasoner.page"
"""Logger of lines that a terminal shows as bars: they are for the run's Prefect page alone."""
_page = logging.getLogger(PAGE_LOG)
_page.propagate = False
_page.addHandler(logging.NullHandler())


class ProgressReporter(Protocol):
    """Progress reporter for a stage."""

    def step(self, done: int, total: int, **values: float) -> None:
        """``done`` of ``total`` steps are finished; ``values`` (loss, reward…) belong to the last one."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line."""
        ...

    def warn(self, text: str) -> None:
        """Something that is wrong: it stays to be read."""
        ...


class NoProgress:
    """Progress reporter that shows nothing."""

    def step(self, done: int, total: int, **values: float) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""


class LogProgress:
    """One log line every few seconds: for pipes, Prefect workers and CI."""

    def __init__(self, stage: str, every: float = 10.0, log: logging.Logger = log) -> None:
        self.stage = stage
        self.log = log
        self.every = every
        self.started = self.last = time.monotonic()
        self.first: int | None = None

    def step(self, done: int, total: int, **values: float) -> None:
        """See :class:`ProgressReporter`."""
        now = time.monotonic()
        if self.first is None:
            self.first, self.started = done, now
        if done < total and now - self.last < self.every:
            return
        self.last = now
        rate = (done - self.first) / (now - self.started) if now > self.started else 0
        left = f", {format_seconds((total - done) / rate)} left" if rate > 0 and done < total else ""
        shown = "".join(f", {k} {v:.3g}" for k, v in values.items())
        self.log.info("%s: %d/%d%s%s", self.stage, done, total, shown, left)

    def note(self, text: str) -> None:
        """See :class:`ProgressReporter`."""
        self.log.info("%s: %s", self.stage, text)

    def warn(self, text: str) -> None:
        """See :class:`ProgressReporter`."""
        self.log.warning("%s: %s", self.stage, text)


class TerminalProgress:
    """Live bars of all stages, with time left; for a person at a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Left

        self.console = Console(stderr=True)
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description:<11}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            Left(),
            TextColumn("{task.fields[values]}", style="cyan"),
            console=self.console,
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[ProgressReporter]:
        """A bar for one stage."""
        task = self.progress.add_task(name, total=None, values="")
        bar = _Bar(self, task, name)
        try:
            yield bar
        except BaseException:
            self.progress.update(task, values="[red]stopped")
            self.progress.stop_task(task)
            raise
        if not self.progress.tasks[task].total:
            self.progress.update(task, total=1, completed=1)
        self.progress.stop_task(task)


class _Bar:
    def __init__(self, terminal: TerminalProgress, task: object, name: str) -> None:
        self.terminal = terminal
        self.task = task
        self.name = name
        self.page = LogProgress(name, log=_page)

    def step(self, done: int, total: int, **values: float) -> None:
        shown = "  ".join(f"{k} {v:.3g}" for k, v in values.items())
        self.terminal.progress.update(self.task, completed=done, total=total, values=shown)  # type: ignore[arg-type]
        self.page.step(done, total, **values)

    def note(self, text: str) -> None:
        self.terminal.progress.update(self.task, values=text)  # type: ignore[arg-type]
        self.page.note(text)

    def warn(self, text: str) -> None:
        # Above the bars: beside them the next step would take its place.
        self.terminal.console.print(f"{self.name}: {text}", style="yellow", markup=False, highlight=False)
        self.page.warn(text)


def format_seconds(seconds: float) -> str:
    """Seconds as a person says them.

    >>> format_seconds(8), format_seconds(125), format_seconds(7260)
    ('8 s', '2 min 5 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def pick(values: Mapping[str, float], *names: str) -> dict[str, float]:
    """Those of the values that are there, under the last part of their names."""
    return {n.rsplit("/", 1)[-1]: float(values[n]) for n in names if n in values}
