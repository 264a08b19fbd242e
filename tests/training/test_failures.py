"""The first cause, among what many ranks leave behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medreasoner_monai.training.failures import first_error

LOST = "[pair.cc:553] Connection closed by peer [127.0.0.1]:45283"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "errors").mkdir()
    (tmp_path / "worker.log").write_text("loading\n")
    return tmp_path / "worker.log"


def note(log: Path, rank: int, time: float, message: str, kind: str = "RuntimeError") -> None:
    text = json.dumps({"rank": rank, "time": time, "type": kind, "message": message})
    (log.parent / "errors" / f"rank-{rank}.json").write_text(text)


def said(log: Path) -> str:
    return first_error(log.parent / "errors", log)


def test_the_earliest_of_equals(log: Path) -> None:
    note(log, 3, 10.0, "no such column 'images'", "KeyError")
    note(log, 1, 11.0, "no such column 'images'", "KeyError")
    assert said(log) == "KeyError: no such column 'images' (rank 3)"


def test_a_cause_goes_before_a_lost_connection_that_was_noted_first(log: Path) -> None:
    note(log, 0, 10.0, LOST)
    note(log, 1, 12.0, "CUDA out of memory", "OutOfMemoryError")
    assert said(log) == "OutOfMemoryError: CUDA out of memory (rank 1)"


@pytest.mark.parametrize(
    "line",
    ["  traceback : Signal 9 (SIGKILL) received by PID 4711", "[ERROR] Process 4711 exits with return code = -9"],
)
def test_a_rank_that_was_killed_could_not_say_why(log: Path, line: str) -> None:
    note(log, 0, 10.0, LOST)
    log.write_text(f"loading\n{line}\n")
    assert said(log).startswith("a rank was killed by") and "9" in said(log) + "SIGKILL 9"


def test_without_notes_the_log_has_to_do(log: Path) -> None:
    log.write_text("loading\nTraceback (most recent call last):\n  File x\nImportError: no torch\nbye\n")
    assert said(log) == "ImportError: no torch"
    log.write_text("only this\n\n")
    assert said(log) == "only this"
    log.write_text("")
    assert said(log) == "no output"
