"""Write-behind spool of one MLflow run: every operation is on the disk before it is sent, and stays until the end.

A spool is a folder::

    operations.jsonl    one operation per line, in order; the first creates the run
    state.json          MLflow's id of the run (null before it was created) and how many operations were sent
    files/<n>/<name>    what is to be uploaded, hard-linked where the file system can
    tables/<name>.jsonl rows of a table so far

Operations are kept after they were sent, so that a run whose database was lost can be sent again to a new one.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medreasoner_monai.files import write_json

OPERATIONS, STATE, FILES, TABLES = "operations.jsonl", "state.json", "files", "tables"
Operation = dict[str, Any]


def is_spool(folder: Path) -> bool:
    """Whether a folder holds a spool with at least the operation that creates its run."""
    path = folder / OPERATIONS
    return path.is_file() and b"\n" in path.read_bytes()[:65536]


class Spool:
    """The operations of one run, in a folder of its own.

    Attributes
    ----------
    pending:
        Operations that were not sent yet, in order.
    run_id:
        MLflow's id of the run, or None before the server was reached.
    steps:
        The last step whose metrics were added, by series (training rows, validation rows).
    rows:
        How many rows each table has.
    last:
        The last operation.
    """

    def __init__(self, folder: Path) -> None:
        """Open a spool that exists; see :meth:`create`."""
        self.folder = folder
        _cut_torn_line(folder / OPERATIONS)
        operations = self._read()
        state = _read_state(folder / STATE)
        self.run_id: str | None = state["run"]
        self.resumed = True
        self.steps: dict[str, int] = {}
        for operation in operations:
            if "series" in operation:
                self.steps[operation["series"]] = operation["step"]
        tables = sorted((folder / TABLES).glob("*.jsonl"))
        for path in tables:
            _cut_torn_line(path)
        self.rows = {path.name.removesuffix("l"): path.read_bytes().count(b"\n") for path in tables}
        self.last = operations[-1]
        self._sent = min(int(state["sent"]), len(operations))
        self.pending = deque(operations[self._sent :])

    @classmethod
    def create(cls, folder: Path, first: Mapping[str, Any]) -> Spool:
        """Begin a spool with the operation that creates its run."""
        folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"op": "run", "token": uuid.uuid4().hex, "time": milliseconds(), **first})
        (folder / OPERATIONS).write_text(line + "\n", encoding="utf-8")
        spool = cls(folder)
        spool.resumed = False
        return spool

    @property
    def first(self) -> Operation:
        """The operation that creates the run: name, tags, parent, token and time (ms)."""
        with (self.folder / OPERATIONS).open(encoding="utf-8") as f:
            operation: Operation = json.loads(f.readline())
        return operation

    def add(self, operation: Operation) -> None:
        """Append an operation; it is on the disk when this returns."""
        with (self.folder / OPERATIONS).open("a", encoding="utf-8") as f:
            f.write(json.dumps(operation, ensure_ascii=False) + "\n")
        if "series" in operation:
            self.steps[operation["series"]] = operation["step"]
        self.last = operation
        self.pending.append(operation)

    def keep(self, source: Path, folder: str = "") -> None:
        """Append the upload of a file, as it is now; the caller may move or remove it afterwards."""
        target = self._place(source.name)
        try:
            os.link(source.resolve(), target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, target)
        self.add({"op": "file", "file": str(target.relative_to(self.folder)), "folder": folder})

    def keep_text(self, text: str, name: str) -> None:
        """Append the upload of a text under a name."""
        target = self._place(name)
        target.write_text(text, encoding="utf-8")
        self.add({"op": "file", "file": str(target.relative_to(self.folder)), "folder": ""})

    def _place(self, name: str) -> Path:
        target = self.folder / FILES / uuid.uuid4().hex[:12] / name
        target.parent.mkdir(parents=True)
        return target

    def append_rows(self, rows: Sequence[Mapping[str, Any]], name: str) -> int:
        """Add rows to a table's file and return how many it has; uploading it is an operation of its own."""
        path = self.folder / TABLES / f"{name}l"
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as f:
            f.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        self.rows[name] = self.rows.get(name, 0) + len(rows)
        return self.rows[name]

    def created(self, run_id: str) -> None:
        """Note MLflow's id of the run."""
        self.run_id = run_id
        self._note()

    def mark_sent(self, count: int) -> None:
        """Note that the first ``count`` pending operations were sent."""
        for _ in range(count):
            self.pending.popleft()
        self._sent += count
        self._note()

    def rewind(self) -> None:
        """Send everything again: the store that had the run is gone."""
        self.run_id, self._sent = None, 0
        self.pending = deque(self._read())
        self._note()

    def move(self, to: Path) -> None:
        """Move the folder, for instance out of a scratch folder that is about to be removed."""
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.folder, to)
        self.folder = to

    def _note(self) -> None:
        write_json(self.folder / STATE, {"run": self.run_id, "sent": self._sent})

    def _read(self) -> list[Operation]:
        with (self.folder / OPERATIONS).open(encoding="utf-8") as f:
            return [json.loads(line) for line in f]


def milliseconds(seconds: float | None = None) -> int:
    """Unix time in milliseconds, of now unless given in seconds."""
    return round((time.time() if seconds is None else seconds) * 1000)


def _cut_torn_line(path: Path) -> None:
    """Drop the half line that a killed process may have left."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        with path.open("r+b") as f:
            f.truncate(whole)


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {"run": None, "sent": 0}
    return state
