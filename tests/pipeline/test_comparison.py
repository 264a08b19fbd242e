"""What two runs differ in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medreasoner_monai.pipeline.comparison import compare_runs
from medreasoner_monai.pipeline.runs import RunRecord
from medreasoner_monai.pipeline.workspace import Workspace


def run(space: Workspace, key: str, samples: int, settings: dict[str, Any], iou: float) -> RunRecord:
    record = space.runs.start(name="x", chain="retrain", config="", overrides=(), settings=settings, trigger="test")
    with space.store.make("dataset", key, {}, {}, {"version": samples, "code": key * 20}) as draft:
        (draft.path / "a.txt").write_text(key)
        draft.facts["splits"] = {"train": {"samples": samples, "groups": 2}}
    made = space.store.find("dataset", key)
    assert made is not None
    space.runs.note_artifact(record.id, "curate", made, reused=False)
    with space.runs.changed(record.id) as changed:
        changed.figures = {"box_iou": {"grpo": iou}}
    return space.runs.load(record.id)


def test_settings_data_code_and_figures_are_compared(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    a = run(space, "a", 1, {"grpo": {"steps": 3, "kl": 0.1}}, 0.4)
    b = run(space, "b", 2, {"grpo": {"steps": 5, "kl": 0.1}}, 0.5)
    found = {(d.section, d.name): (d.first, d.second) for d in compare_runs(a, b, space.store)}
    assert found.pop(("settings", "grpo.steps")) == (3, 5)
    assert found.pop(("data", "train samples")) == (1, 2)
    assert found.pop(("code", "curate version")) == (1, 2)
    assert found.pop(("figures", "box_iou.grpo")) == (0.4, 0.5)
    assert set(found) == {("data", "digest"), ("code", "curate code")}
    (change,) = (d.change for d in compare_runs(a, b, space.store) if d.section == "figures")
    assert change is not None and abs(change - 0.1) < 1e-12


def test_equal_runs_differ_in_nothing(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    a = run(space, "a", 1, {"name": "x"}, 0.4)
    assert compare_runs(a, space.runs.load(a.id), space.store) == []


def test_artifacts_that_are_gone_are_compared_by_reference(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    a, b = run(space, "a", 1, {}, 0.4), run(space, "b", 2, {}, 0.4)
    import shutil

    shutil.rmtree(space.store.root)
    assert [d.name for d in compare_runs(a, b, space.store)] == ["digest"]
