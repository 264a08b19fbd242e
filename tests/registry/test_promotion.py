"""The registry on a real MLflow store in SQLite."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from medreasoner_monai.errors import MedReasonerError
from medreasoner_monai.pipeline.tracking import Tracking
from medreasoner_monai.registry.promotion import champion, promote, refuse, register

_NUMBERS = count()
CACHE = Path("unused where the models lie in folders of this machine")


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """One store for all the tests here, since making its tables takes seconds."""
    root = tmp_path_factory.mktemp("mlflow")
    return Tracking(f"sqlite:///{root}/store/mlflow.db", "test", (root / "artifacts").as_uri())


@pytest.fixture
def name() -> str:
    return f"model-{next(_NUMBERS)}"


def folder(root: Path, which: str) -> Path:
    path = root / f"model {which} ü"
    path.mkdir(exist_ok=True)
    return path


def alias(tracking: Tracking, name: str, which: str) -> str:
    return str(tracking.client.get_model_version_by_alias(name, which).version)


def test_nobody_is_champion_at_first(tracking: Tracking, name: str, tmp_path: Path) -> None:
    assert champion(tracking, name, CACHE) is None
    register(tracking, name, folder(tmp_path, "a"), "digest-a", None)
    assert champion(tracking, name, CACHE) is None


def test_registered_model_is_the_candidate_and_keeps_its_folder(tracking: Tracking, name: str, tmp_path: Path) -> None:
    version = register(tracking, name, folder(tmp_path, "a"), "digest-a", None)
    assert (version.version, version.digest, version.folder) == ("1", "digest-a", folder(tmp_path, "a"))
    assert alias(tracking, name, "candidate") == "1"


def test_same_model_is_registered_once(tracking: Tracking, name: str, tmp_path: Path) -> None:
    first = register(tracking, name, folder(tmp_path, "a"), "digest-a", None)
    assert register(tracking, name, folder(tmp_path, "a"), "digest-a", None) == first
    assert register(tracking, name, folder(tmp_path, "b"), "digest-b", None).version == "2"


def test_promotion_moves_the_alias_and_keeps_the_one_before(tracking: Tracking, name: str, tmp_path: Path) -> None:
    first = register(tracking, name, folder(tmp_path, "a"), "digest-a", None)
    promote(tracking, first)
    assert champion(tracking, name, CACHE) == first
    second = register(tracking, name, folder(tmp_path, "b"), "digest-b", None)
    promote(tracking, second)
    assert champion(tracking, name, CACHE) == second
    assert alias(tracking, name, "previous") == "1"
    assert tracking.client.get_model_version(name, "2").tags["decision"] == "promote"


def test_promotion_repeated_changes_nothing(tracking: Tracking, name: str, tmp_path: Path) -> None:
    first = register(tracking, name, folder(tmp_path, "a"), "digest-a", None)
    second = register(tracking, name, folder(tmp_path, "b"), "digest-b", None)
    for version in (first, second, second):
        promote(tracking, version)
    assert (alias(tracking, name, "champion"), alias(tracking, name, "previous")) == ("2", "1")


def test_refused_candidate_leaves_the_champion_and_says_why(tracking: Tracking, name: str, tmp_path: Path) -> None:
    first = register(tracking, name, folder(tmp_path, "a"), "digest-a", None)
    promote(tracking, first)
    second = register(tracking, name, folder(tmp_path, "b"), "digest-b", None)
    refuse(tracking, second, "too many unreadable answers " * 100)
    assert champion(tracking, name, CACHE) == first
    said = tracking.client.get_model_version(name, "2").tags["decision"]
    assert said.startswith("refuse: too many unreadable") and len(said) == 500


def test_champion_whose_folder_is_gone_is_told_with_the_remedy(tracking: Tracking, name: str, tmp_path: Path) -> None:
    promote(tracking, register(tracking, name, folder(tmp_path, "a"), "digest-a", None))
    folder(tmp_path, "a").rmdir()
    with pytest.raises(MedReasonerError, match=r"version 1 lies at .*model a ü, which is gone; bring the folder back"):
        champion(tracking, name, CACHE)


def test_run_is_taken_up_again_and_logs_no_step_twice(tracking: Tracking, tmp_path: Path) -> None:
    run = tracking.run("grpo", tmp_path, {"stage": "grpo"})
    for step in (1, 2):
        run.row({"step": step, "total": 9, "reward": step / 2})
    again = tracking.run("grpo", tmp_path, {"stage": "grpo"})
    assert again.id == run.id
    for step in (2, 3):
        again.row({"step": step, "total": 9, "reward": step / 2})
    history = tracking.client.get_metric_history(run.id, "reward")
    assert [(m.step, m.value) for m in history] == [(1, 0.5), (2, 1.0), (3, 1.5)]


def test_finished_run_has_its_settings_figures_and_files(tracking: Tracking, tmp_path: Path) -> None:
    run = tracking.run("evaluation", tmp_path, {"stage": "evaluation"})
    run.settings({"grpo": {"steps": 5}, "name": "x" * 600})
    run.figures({"box_iou": 0.5})
    run.document({"a": 1}, "settings.json")
    (tmp_path / "metrics.json").write_text("{}")
    run.file(tmp_path / "metrics.json")
    run.finish()
    found = tracking.client.get_run(run.id)
    assert found.info.status == "FINISHED" and found.data.metrics == {"box_iou": 0.5}
    assert found.data.params["grpo.steps"] == "5" and len(found.data.params["name"]) == 500
    assert {f.path for f in tracking.client.list_artifacts(run.id)} == {"settings.json", "metrics.json"}
