"""What the parent makes of a worker's files: told once, kept in the artifact, and in MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from mlflow import MlflowClient

from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.pipeline.tracking import TrackedRun, Tracking
from medreasoner_monai.training.alarms import read_alarms
from medreasoner_monai.training.follow import PICTURE_ALARMS, SHEETS, Follower, sheet_name
from medreasoner_monai.training.launch import COMPLETIONS
from medreasoner_monai.training.track import TrainingRun

CUT = "completions/clipped_ratio"


class Told(NoProgress):
    """Remembers what it was warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracking(f"sqlite:///{folder / 'mlflow.db'}", "follow", (folder / "artifacts").as_uri())


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "kept").mkdir()
    return tmp_path / "scratch", tmp_path / "kept"


@pytest.fixture
def run(tracking: Tracking, folders: tuple[Path, Path]) -> TrackedRun:
    return tracking.run("GRPO", folders[0], {})


def follower(
    run: TrackedRun, folders: tuple[Path, Path], told: Told, *, pictures: bool = True, sample_ids: bool = True
) -> Follower:
    return Follower(run, *folders, told, pictures=pictures, sample_ids=sample_ids)


def stored(run: TrackedRun, name: str, tmp_path: Path) -> Any:
    client: MlflowClient = run.client
    return json.loads(Path(client.download_artifacts(run.id, name, str(tmp_path))).read_text())


def kept(run: TrackedRun, folder: str = "") -> list[str]:
    return sorted(f.path for f in run.client.list_artifacts(run.id, folder or None))


def test_an_alarm_is_told_tagged_and_kept(run: TrackedRun, folders: tuple[Path, Path], tmp_path: Path) -> None:
    told = Told()
    follow = follower(run, folders, told)
    for step in range(1, 4):
        follow.row({"step": step, CUT: 0.9})
    (warning,) = told.warnings
    assert warning.startswith("alarm at step 3, truncated: 90% of the completions are cut off")
    assert run.client.get_run(run.id).data.tags["alarm.truncated"].startswith("step 3: 90%")
    assert [(a.kind, a.step, a.cleared) for a in read_alarms(folders[1])] == [("truncated", 3, None)]
    assert [(a["kind"], a["cleared"]) for a in stored(run, "alarms.json", tmp_path)] == [("truncated", None)]
    for step in range(4, 9):
        follow.row({"step": step, CUT: 0.0})
    assert len(told.warnings) == 1
    assert [a.cleared for a in read_alarms(folders[1])] == [6]
    assert [a["cleared"] for a in stored(run, "alarms.json", tmp_path)] == [6]


def test_all_well_leaves_nothing(run: TrackedRun, folders: tuple[Path, Path]) -> None:
    told = Told()
    follow = follower(run, folders, told)
    for step in range(1, 9):
        follow.row({"step": step, CUT: 0.0})
    follow.finish()
    assert told.warnings == [] and list(folders[1].iterdir()) == [] and kept(run) == []


def test_a_second_attempt_does_not_tell_it_again(run: TrackedRun, folders: tuple[Path, Path]) -> None:
    rows = [{"step": step, CUT: 0.9} for step in range(1, 7)]
    first, second = Told(), Told()
    follow = follower(run, folders, first)
    for row in rows[:4]:
        follow.row(row)
    again = follower(run, folders, second)
    for row in rows:
        again.row(row)
    assert len(first.warnings) == 1 and second.warnings == []
    assert len(read_alarms(folders[1])) == 1


def test_what_the_worker_found_at_the_start_is_told_with_the_first_row(
    run: TrackedRun, folders: tuple[Path, Path]
) -> None:
    told = Told()
    follow = follower(run, folders, told)
    alarm = {"kind": "image_dropped", "step": 0, "message": "The picture is lost.", "cleared": None}
    (folders[0] / PICTURE_ALARMS).write_text(json.dumps(alarm) + "\n")
    follow.row({"step": 1})
    follow.row({"step": 2})
    assert told.warnings == ["alarm at step 0, image_dropped: The picture is lost."]
    assert [a.kind for a in read_alarms(folders[1])] == ["image_dropped"]


def completion(step: int, text: str = "x") -> str:
    return (
        json.dumps({"step": step, "id": "s1", "question": "Where?", "text": text, "bbox_iou": 0.5, "reward": 1.5})
        + "\n"
    )


def recorded(folder: Path, *steps: int) -> None:
    with (folder / COMPLETIONS).open("a") as f:
        f.write("".join(completion(step, text) for step in steps for text in "ab"))
    (folder / SHEETS).mkdir(exist_ok=True)
    for step in steps:
        (folder / SHEETS / sheet_name(step)).write_bytes(b"png")


def test_completions_go_into_one_table_and_their_sheets_beside_it(
    run: TrackedRun, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    recorded(folders[0], 0)
    follow = follower(run, folders, Told())
    follow.row({"step": 1})
    recorded(folders[0], 10, 20)
    follow.row({"step": 11})
    # A second attempt reads the file from its start.
    again = follower(run, folders, Told())
    again.row({"step": 11})
    recorded(folders[0], 30)
    again.finish()
    table = stored(run, "completions.json", tmp_path)
    assert table["columns"] == ["step", "id", "question", "text", "bbox_iou", "reward"]
    assert [(r[0], r[3]) for r in table["data"]] == [(s, t) for s in (0, 10, 20, 30) for t in "ab"]
    sheets = [sheet_name(step) for step in (0, 10, 20, 30)]
    assert kept(run, SHEETS) == [f"{SHEETS}/{name}" for name in sheets]
    assert sorted(p.name for p in (folders[1] / SHEETS).iterdir()) == sheets


def test_pictures_stay_here_unless_they_may_go(run: TrackedRun, folders: tuple[Path, Path]) -> None:
    recorded(folders[0], 0)
    follow = follower(run, folders, Told(), pictures=False)
    follow.finish()
    assert kept(run) == ["completions.json"]
    assert [p.name for p in (folders[1] / SHEETS).iterdir()] == [sheet_name(0)]


def test_samples_are_numbered_unless_their_ids_may_go(
    run: TrackedRun, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    name = "MUELLER^ANNA_1957"
    with (folders[0] / COMPLETIONS).open("a") as f:
        for step, sample in ((0, name), (0, "other"), (10, name)):
            f.write(completion(step).replace('"s1"', f'"{sample}"'))
    alarm = {"kind": "image_dropped", "step": 0, "message": f"the pictures of {name} are blank", "cleared": None}
    (folders[0] / PICTURE_ALARMS).write_text(json.dumps(alarm) + "\n")
    told = Told()
    follow = follower(run, folders, told, sample_ids=False)
    training = TrainingRun(run, follow, folders[0])
    training.row({"step": 1, "reward": 1.0})
    training.file(folders[0] / COMPLETIONS)
    follow.finish()
    run.finish()
    # Here the names are needed to find the samples; there they are not.
    assert name in told.warnings[0] and name in read_alarms(folders[1])[0].message
    found = run.client.get_run(run.id)
    assert found.data.tags["alarm.image_dropped"] == (
        "step 0: the message may name samples: see alarms.jsonl in the workspace's artifact"
    )
    table = stored(run, "completions.json", tmp_path)
    assert [row[1] for row in table["data"]] == ["sample 1", "sample 2", "sample 1"]
    assert kept(run) == ["alarms.json", "completions.json"]
    artifacts = Path(unquote(urlparse(found.info.artifact_uri).path))
    assert not [p for p in artifacts.rglob("*") if p.is_file() and name in p.read_text(encoding="utf-8")]
