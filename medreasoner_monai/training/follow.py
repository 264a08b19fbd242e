"""What the parent makes of what a training writes: alarms for the person who waits, and completions for the tracker."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.pipeline.tracking import TrackedRun
from medreasoner_monai.training.alarms import ALARMS, Alarm, AlarmLog, read_alarms, write_alarms
from medreasoner_monai.training.finish import keep
from medreasoner_monai.training.launch import COMPLETIONS, Row, Tail

PICTURE_ALARMS = "picture_alarms.jsonl"
"""What the worker found when it looked at its pictures."""

SHEETS = "completions"
"""The folder of the contact sheets, one a recorded step."""

TABLE = "completions.json"


def sheet_name(step: int) -> str:
    """A contact sheet's file name, which sorts by step."""
    return f"step-{step:06d}.png"


class Follower:
    """Follows one training.

    Parameters
    ----------
    run:
        Its MLflow run.
    scratch:
        The worker's folder.
    keep:
        The artifact's folder, for what is to stay.
    watch:
        Who is told.
    pictures:
        Whether contact sheets may go to MLflow.
    sample_ids:
        Whether ids of samples may go to MLflow; otherwise samples are numbered in the order in which they appear.
    """

    def __init__(
        self, run: TrackedRun, scratch: Path, keep: Path, watch: ProgressReporter, *, pictures: bool, sample_ids: bool
    ) -> None:
        self.run, self.scratch, self.keep, self.watch = run, scratch, keep, watch
        self.pictures, self.sample_ids = pictures, sample_ids
        self.log = AlarmLog()
        self.picture_alarms: list[Alarm] = []
        self._picture_rows = Tail(scratch / PICTURE_ALARMS)
        self._completion_rows = Tail(scratch / COMPLETIONS)
        self._seen = scratch / "mlflow_completions"
        self._numbers: dict[str, int] = {}
        # A second attempt reads the rows of the first one again; what was told then is not told twice.
        self._written = read_alarms(keep)
        self._told = {_identity(a) for a in self._written}

    def row(self, values: Row) -> None:
        """One more row of metrics."""
        self.log.see(values)
        self.poll()

    def poll(self) -> None:
        """Take what else the worker has written."""
        self.picture_alarms += [Alarm(**row) for row in self._picture_rows]
        alarms = list(dict.fromkeys([*self.picture_alarms, *self.log.found]))
        for alarm in alarms:
            if _identity(alarm) not in self._told:
                self._told.add(_identity(alarm))
                self.watch.warn(f"alarm at step {alarm.step}, {alarm.kind}: {alarm.message}")
                self.run.tag(f"alarm.{alarm.kind}", f"step {alarm.step}: {self._outgoing(alarm).message}")
        if alarms != self._written:
            self._written = alarms
            write_alarms(self.keep / ALARMS, alarms)
            self.run.document([asdict(self._outgoing(a)) for a in alarms], "alarms.json")
        self._completions()

    def _outgoing(self, alarm: Alarm) -> Alarm:
        """The alarm as MLflow may have it: what the worker found in its pictures names samples."""
        if self.sample_ids or _identity(alarm) not in map(_identity, self.picture_alarms):
            return alarm
        return replace(alarm, message=f"the message may name samples: see {ALARMS} in the workspace's artifact")

    def _without_id(self, row: Row) -> Row:
        """A row of completions with the sample's number in place of its id."""
        number = self._numbers.setdefault(str(row.get("id")), len(self._numbers) + 1)
        return {**row, "id": f"sample {number}"}

    def _completions(self) -> None:
        read = self._completion_rows if self.sample_ids else map(self._without_id, self._completion_rows)
        for step, rows in groupby(read, key=lambda row: int(row["step"])):
            if self._seen.is_file() and step <= int(self._seen.read_text()):
                continue
            self.run.table(list(rows), TABLE)
            sheet = self.scratch / SHEETS / sheet_name(step)
            if self.pictures and sheet.is_file():
                self.run.file(sheet, SHEETS)
            self._seen.write_text(str(step))

    def finish(self) -> None:
        """The training is done: its contact sheets go to the artifact."""
        self.poll()
        for sheet in sorted((self.scratch / SHEETS).glob("*.png")):
            keep(f"{SHEETS}/{sheet.name}", self.scratch, self.keep)


def _identity(alarm: Alarm) -> Alarm:
    """The alarm, whether or not it is over."""
    return replace(alarm, cleared=None)
