"""What goes wrong in a training, seen in its metrics: raised once, cleared when it is over, raised again if it returns.

Everything here is a function of the rows alone, so that a training that goes on after a kill raises what it did before.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from medreasoner_monai.training.alarm_rules import RULES
from medreasoner_monai.training.history import History, Row, Rule
from medreasoner_monai.training.rows import number

ALARMS = "alarms.jsonl"


@dataclass(frozen=True)
class Alarm:
    """Something that went wrong, and what to try. ``cleared`` is the step at which it was over, if it was."""

    kind: str
    step: int
    message: str
    cleared: int | None = None


class AlarmLog:
    """Alarms of the rows seen so far."""

    def __init__(self, rules: Sequence[Rule] = RULES) -> None:
        self.rules = rules
        self.found: list[Alarm] = []
        self._rows: list[dict[str, Any]] = []
        self._forget()

    def _forget(self) -> None:
        self.found.clear()
        self._histories: dict[int, History] = defaultdict(History)
        self._open: dict[str, tuple[int, int]] = {}

    def see(self, row: Row) -> list[Alarm]:
        """Take the next row; returns the alarms it raises.

        A row of an earlier step than the last one means that the training went back to a checkpoint: what was seen of
        the steps from there on is forgotten.
        """
        step = number(row.get("step"))
        if step is None:
            return []
        if self._rows and step < self._rows[-1]["step"]:
            kept = [r for r in self._rows if r["step"] < step]
            self._rows = []
            self._forget()
            for known in kept:
                self.see(known)
        self._rows.append({**row, "step": step})
        return [alarm for n, rule in enumerate(self.rules) if (alarm := self._judge(n, rule, row, int(step)))]

    def _judge(self, n: int, rule: Rule, row: Row, step: int) -> Alarm | None:
        value = rule.read(row)
        if value is None:
            return None
        history = self._histories[n]
        history.add(value)
        if len(history.values) < rule.enough:
            return None
        if rule.kind in self._open:
            raised_by, place = self._open[rule.kind]
            if raised_by == n and rule.limits.good(history):
                del self._open[rule.kind]
                self.found[place] = replace(self.found[place], cleared=step)
            return None
        if not rule.limits.bad(history):
            return None
        alarm = Alarm(rule.kind, step, rule.says(history, row))
        self._open[rule.kind] = (n, len(self.found))
        self.found.append(alarm)
        return alarm


def alarms(rows: Iterable[Row]) -> list[Alarm]:
    """The alarms of a training's rows, in the order they were raised.

    >>> [a.kind for a in alarms({"step": s, "completions/clipped_ratio": 0.9} for s in range(9))]
    ['truncated']
    """
    log = AlarmLog()
    for row in rows:
        log.see(row)
    return log.found


def write_alarms(path: Path, found: Sequence[Alarm]) -> None:
    """One alarm a line; the file is there only if there are any."""
    if not found:
        path.unlink(missing_ok=True)
        return
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(json.dumps(asdict(a), ensure_ascii=False) + "\n" for a in found), encoding="utf-8")
    temporary.replace(path)


def read_alarms(folder: Path) -> list[Alarm]:
    """The alarms that a training left in its artifact."""
    path = folder / ALARMS
    if not path.is_file():
        return []
    return [Alarm(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
