"""Spools on the disk: whole lines only, and sent again when the database that had the run is gone."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from medreasoner_monai.errors import RegistryError
from medreasoner_monai.pipeline.mlflow_store import MlflowStore, StoreGoneError
from medreasoner_monai.pipeline.send import reason
from medreasoner_monai.pipeline.spool import OPERATIONS, Spool
from medreasoner_monai.pipeline.tracking import Tracking
from medreasoner_monai.registry.promotion import champion


def spool(folder: Path) -> Spool:
    return Spool.create(folder / "spool", {"name": "GRPO", "tags": {}, "parent": None})


def test_what_is_kept_stays_as_it_was_when_it_was_kept(tmp_path: Path) -> None:
    made, file = spool(tmp_path), tmp_path / "notes.txt"
    file.write_text("first")
    made.keep(file)
    file.unlink()
    file.write_text("second")
    made.keep(file)
    texts = [(made.folder / o["file"]).read_text() for o in made.pending if o["op"] == "file"]
    assert texts == ["first", "second"]


def test_half_a_line_of_a_killed_process_is_dropped(tmp_path: Path) -> None:
    made = spool(tmp_path)
    made.add({"op": "tags", "values": {"a": "1"}})
    made.append_rows([{"step": 1}], "table.json")
    for name in (OPERATIONS, "tables/table.jsonl"):
        with (made.folder / name).open("a") as f:
            f.write('{"op": "ta')
    again = Spool(made.folder)
    again.add({"op": "tags", "values": {"b": "2"}})
    assert [o["op"] for o in Spool(made.folder).pending] == ["run", "tags", "tags"]
    assert again.append_rows([{"step": 2}], "table.json") == 2
    rows = (made.folder / "tables" / "table.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2]


def test_a_full_disk_leaves_whole_lines_and_room_lets_it_go_on(small_disk: Callable[[int], Path]) -> None:
    folder = small_disk(1)
    made = spool(folder)
    added: list[int] = []

    def fill() -> None:
        for n in range(10_000):
            made.add({"op": "tags", "values": {"n": str(n) * 300}})
            added.append(n)

    with pytest.raises(OSError, match="No space left"):
        fill()
    assert len(Spool(made.folder).pending) == 1 + len(added)
    subprocess.run(["mount", "-o", "remount,size=5m", str(folder)], check=True)
    made.add({"op": "tags", "values": {"last": "1"}})
    assert Spool(made.folder).last == {"op": "tags", "values": {"last": "1"}}


def test_a_stage_that_ends_on_a_full_disk_tells_its_own_error_and_is_one_run_when_it_goes_on(
    small_disk: Callable[[int], Path], tmp_path: Path
) -> None:
    folder = small_disk(1)
    (folder / "scratch").mkdir()
    absent = Tracking("http://127.0.0.1:9", "e", outbox=folder / "mlflow" / "unsent")
    run = absent.run("GRPO", folder / "scratch", {})
    run.row({"step": 1, "reward": 0.1})

    def fill() -> None:
        with run.ending(), (folder / "taken").open("wb", buffering=0) as f:
            while f.write(b"x" * 65536):
                pass

    with pytest.raises(OSError, match="No space left"):
        fill()
    (folder / "taken").unlink()
    there = Tracking(
        f"sqlite:///{tmp_path / 'm.db'}", "e", (tmp_path / "artifacts").as_uri(), folder / "mlflow" / "unsent"
    )
    again = there.run("GRPO", folder / "scratch", {})
    again.row({"step": 2, "reward": 0.2})
    again.finish()
    (found,) = there.client.search_runs([there.experiment_id])
    assert found.info.status == "FINISHED"
    assert [m.step for m in there.client.get_metric_history(found.info.run_id, "reward")] == [1, 2]


def test_a_run_whose_database_is_gone_is_sent_whole_to_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    old = Tracking(f"sqlite:///{tmp_path / 'old.db'}", "e", (tmp_path / "artifacts").as_uri())
    run = old.run("GRPO", tmp_path / "scratch", {"stage": "GRPO"})
    run.row({"step": 1, "reward": 0.1})
    assert run.send()
    new = Tracking(f"sqlite:///{tmp_path / 'new.db'}", "e", (tmp_path / "artifacts").as_uri())
    again = new.run("GRPO", tmp_path / "scratch", {"stage": "GRPO"})
    again.row({"step": 2, "reward": 0.2})
    again.finish()
    assert again.id != run.id
    assert [m.step for m in new.client.get_metric_history(again.id, "reward")] == [1, 2]
    assert new.client.get_run(again.id).info.status == "FINISHED"


def test_a_database_removed_under_a_run_is_noticed_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "scratch").mkdir()
    tracking = Tracking(
        f"sqlite:///{tmp_path / 'db' / 'm.db'}", "e", (tmp_path / "a").as_uri(), tmp_path / "db" / "unsent"
    )
    run = tracking.run("GRPO", tmp_path / "scratch", {})
    run.row({"step": 1, "reward": 0.1})
    shutil.rmtree(tmp_path / "db")
    # SQLite would take this row, into a file without a name.
    run.row({"step": 2, "reward": 0.2})
    run.finish()
    (warning,) = caplog.messages
    assert f"the MLflow database {tmp_path / 'db' / 'm.db'} was removed or replaced" in warning
    with pytest.raises(StoreGoneError, match="start the same command again"):
        champion(tracking, "m", tmp_path)
    (waiting,) = (tmp_path / "db" / "unsent").glob("*/")
    assert [o["op"] for o in Spool(waiting).pending] == ["metrics", "status"]


def test_a_database_that_cannot_be_opened_stops_the_gate_alone(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file in the place of the folder")
    tracking = Tracking(f"sqlite:///{tmp_path / 'taken' / 'm.db'}", "e")
    (tmp_path / "scratch").mkdir()
    run = tracking.run("GRPO", tmp_path / "scratch", {})
    run.row({"step": 1, "reward": 0.1})
    assert run.id is None
    with pytest.raises(
        RegistryError, match=r"could not be asked for the champion of m \((FileExists|NotADirectory)Error: "
    ):
        champion(tracking, "m", tmp_path)


def test_an_address_is_shown_without_credentials_and_a_reason_without_what_was_handled_before() -> None:
    assert MlflowStore("https://user:word@host:5000/mlflow").shown == "https://host:5000/mlflow"
    assert MlflowStore("sqlite:////a/b.db").shown == "sqlite:////a/b.db"
    outside = ValueError("the training's")
    error, cause = RuntimeError("wrapped"), ConnectionError("the tracker's\nand more")
    error.__cause__, cause.__context__ = cause, outside
    assert reason(error, outside) == "ConnectionError: the tracker's"
    assert reason(error) == "ValueError: the training's"
