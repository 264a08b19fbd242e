"""Pruning removes what is old and needed by nobody, and never what a registered model or a kept run points to."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from medreasoner_monai.errors import InputError
from medreasoner_monai.pipeline.pruning import Policy, plan_pruning, prune
from medreasoner_monai.pipeline.runs import RunRecord
from medreasoner_monai.pipeline.workspace import Workspace

EVERYTHING = Policy(keep_last=0, older_than=0)
LATER = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def run(space: Workspace, *keys: str, finished: bool = True) -> RunRecord:
    """A run whose stages made artifacts of these keys; an artifact may be of several runs."""
    record = space.runs.start(name="x", chain="retrain", config="", overrides=(), settings={}, trigger="test")
    for key in keys:
        if space.store.find("model", key) is None:
            with space.store.make("model", key, {}, {}) as draft:
                (draft.path / "a.txt").write_text(key)
        made = space.store.find("model", key)
        assert made is not None
        space.runs.note_artifact(record.id, f"stage {key}", made, reused=False)
    if finished:
        with space.runs.recorded(record.id):
            pass
    return record


def digest(space: Workspace, key: str) -> str:
    found = space.store.find("model", key)
    assert found is not None
    return found.digest


def removed(space: Workspace, policy: Policy = EVERYTHING, registered: tuple[str, ...] = ()) -> set[str]:
    plan = plan_pruning(space, policy, registered, now=LATER)
    return {p.name for p in plan.folders} | set(plan.runs)


def test_an_old_run_goes_with_what_only_it_needed(space: Workspace) -> None:
    old, kept = run(space, "a", "shared"), run(space, "b", "shared")
    with space.runs.changed(kept.id) as record:
        record.kept = True
    assert removed(space) == {"model-a", old.id}
    plan = plan_pruning(space, EVERYTHING, (), now=LATER)
    assert plan.kept == {kept.id: "marked to be kept"} and plan.size > 0
    assert prune(space, plan) == []
    assert {p.name for p in space.store.root.iterdir()} == {"locks", "model-b", "model-shared"}
    assert space.runs.ids() == [kept.id]


def test_a_registered_models_run_and_artifact_stay(space: Workspace) -> None:
    registered = run(space, "champion", "its-data")
    run(space, "other")
    by_whom = (digest(space, "champion"),)
    assert {n for n in removed(space, registered=by_whom) if n.startswith("model")} == {"model-other"}
    assert plan_pruning(space, EVERYTHING, by_whom, now=LATER).kept == {registered.id: "its model is registered"}


def test_a_registered_model_whose_run_is_gone_stays(space: Workspace) -> None:
    run(space, "champion")
    by_whom = (digest(space, "champion"),)
    import shutil

    shutil.rmtree(space.runs.root)
    assert removed(space, registered=by_whom) == set()


def test_what_is_at_work_new_or_young_stays(space: Workspace) -> None:
    first, second, working = run(space, "a"), run(space, "b"), run(space, "c", finished=False)
    assert removed(space, Policy(keep_last=0, older_than=1)) == set()
    by_age = sorted([first.id, second.id, working.id])
    gone = removed(space, Policy(keep_last=2, older_than=0))
    assert not gone & {*by_age[-2:], working.id, "model-c"}


def test_leftovers_of_killed_attempts_go_when_they_are_old(space: Workspace) -> None:
    for name in ("model-x.partial", "model-x.scratch", "model-y.pulling"):
        (space.store.root / name).mkdir(parents=True)
    assert removed(space, Policy(keep_last=0, older_than=1)) == set()
    assert removed(space) == {"model-x.partial", "model-x.scratch", "model-y.pulling"}


def test_a_fetched_champion_stays_while_it_is_registered(space: Workspace) -> None:
    for name in ("a" * 16, "b" * 16):
        (space.champions / name).mkdir(parents=True)
    assert removed(space, registered=("a" * 64,)) == {"b" * 16}
    assert removed(space, Policy(keep_last=0, older_than=1)) == set()


def test_a_folder_in_use_is_left(space: Workspace) -> None:
    run(space, "a")
    plan = plan_pruning(space, EVERYTHING, (), now=LATER)
    with space.store.claim("model", "a"):
        assert [p.name for p in prune(space, plan)] == ["model-a"]
    assert space.store.find("model", "a") is not None


def test_an_artifact_that_cannot_be_read_is_for_a_person_to_look_at(space: Workspace) -> None:
    run(space, "a")
    (space.store.root / "model-a" / "manifest.json").write_text("{half")
    os.utime(space.store.root / "model-a", (0, 0))
    assert "model-a" not in removed(space)


def test_a_policy_is_checked() -> None:
    with pytest.raises(InputError, match="at least 0"):
        Policy(keep_last=-1)
