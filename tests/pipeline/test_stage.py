"""What makes a stage run again: its version, inputs, deciding settings, libraries, device; never what observes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medreasoner_monai.pipeline import stage as stage_module
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.stage import Made, Stage, run_stage
from medreasoner_monai.pipeline.store import Draft, Store
from medreasoner_monai.settings.training import ColdStartSettings, DeepSpeedSettings, GenerationSettings, GrpoSettings

STAGE = Stage("thing", "thing", version=1, code=("task.geometry",), libraries=("numpy",), numeric=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


class Maker:
    """Writes a file and counts how often it was asked to."""

    def __init__(self, text: str = "one") -> None:
        self.text, self.calls = text, 0

    def __call__(self, draft: Draft) -> None:
        self.calls += 1
        (draft.path / "a.txt").write_text(self.text)


def test_key_follows_what_decides_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    base = STAGE.key({"data": "a"}, {"steps": 1})
    keys = [
        base,
        replace(STAGE, kind="model").key({"data": "a"}, {"steps": 1}),
        replace(STAGE, version=2).key({"data": "a"}, {"steps": 1}),
        STAGE.key({"data": "b"}, {"steps": 1}),
        STAGE.key({"other": "a"}, {"steps": 1}),
        STAGE.key({"data": "a"}, {"steps": 2}),
    ]
    monkeypatch.setattr(stage_module, "device_class", lambda: "cuda-bfloat16")
    keys.append(STAGE.key({"data": "a"}, {"steps": 1}))
    monkeypatch.undo()
    monkeypatch.setattr(stage_module, "version", lambda name: "99.1")
    keys.append(STAGE.key({"data": "a"}, {"steps": 1}))
    monkeypatch.setattr(stage_module, "version", lambda name: "99.2")
    assert STAGE.key({"data": "a"}, {"steps": 1}) == keys[-1], "a minor version decides nothing"
    monkeypatch.undo()
    assert len(set(keys)) == len(keys)
    assert STAGE.key({"data": "a"}, {"steps": 1}) == base


def test_key_does_not_follow_the_code_or_the_stages_name() -> None:
    same = replace(STAGE, name="renamed", code=("task.answer",))
    assert same.key({}, {}) == STAGE.key({}, {})


def test_device_counts_only_where_results_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = replace(STAGE, numeric=False)
    here = exact.key({}, {})
    monkeypatch.setattr(stage_module, "device_class", lambda: "cuda-bfloat16")
    assert exact.key({}, {}) == here


def test_settings_that_only_observe_are_in_no_key() -> None:
    here = GrpoSettings()
    there = GrpoSettings(
        deepspeed=DeepSpeedSettings(hostfile=Path("hosts"), port=30000),
        generation=GenerationSettings(server="http://other:8000", gpu_memory=0.5),
        gradient_checkpointing=True,
    )
    assert there.deciding() == here.deciding()
    for other in (GrpoSettings(kl=0.5), GrpoSettings(deepspeed=DeepSpeedSettings(zero_stage=3))):
        assert other.deciding() != here.deciding()
    assert ColdStartSettings(seed=1).deciding() != ColdStartSettings().deciding()


def test_same_stage_is_found_not_made_again(store: Store) -> None:
    make = Maker()
    first = run_stage(store, STAGE, make, inputs={}, settings={"n": 1})
    second = run_stage(store, STAGE, make, inputs={}, settings={"n": 1})
    assert make.calls == 1 and (first.reused, second.reused) == (False, True)
    assert second.artifact.path == first.artifact.path
    assert first.artifact.manifest["version"] == 1 and len(first.artifact.manifest["code"]) == 64


def test_other_settings_or_inputs_make_another(store: Store) -> None:
    make = Maker()
    first = artifact(run_stage(store, STAGE, make, inputs={}, settings={"n": 1}))
    run_stage(store, STAGE, make, inputs={}, settings={"n": 2})
    other = artifact(run_stage(store, STAGE, Maker("two"), inputs={}, settings={"n": 3}))
    run_stage(store, replace(STAGE, kind="next"), make, inputs={"thing": first}, settings={})
    run_stage(store, replace(STAGE, kind="next"), make, inputs={"thing": other}, settings={})
    assert make.calls == 4


def test_failed_stage_is_made_again(store: Store) -> None:
    def fail(draft: Draft) -> None:
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError, match="no space"):
        run_stage(store, STAGE, fail, inputs={}, settings={})
    make = Maker()
    assert not run_stage(store, STAGE, make, inputs={}, settings={}).reused
    assert make.calls == 1


def test_made_again_on_request_it_replaces_what_was_there(store: Store) -> None:
    run_stage(store, STAGE, Maker("one"), inputs={}, settings={})
    seen: list[str] = []

    def make(draft: Draft) -> None:
        found = store.find("thing", STAGE.key({}, {}))
        assert found is not None
        seen.append((found.path / "a.txt").read_text())  # it stays in use until the new one is whole
        (draft.path / "a.txt").write_text("two")

    made = run_stage(store, STAGE, make, inputs={}, settings={}, fresh=True)
    assert not made.reused and seen == ["one"] and (made.artifact.path / "a.txt").read_text() == "two"
    assert [p.name for p in store.root.iterdir() if p.name != "locks"] == [made.artifact.path.name]


def test_what_was_written_up_to_the_manifest_is_not_made_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    make = Maker()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_finish", killed)
        with pytest.raises(KeyboardInterrupt):
            run_stage(store, STAGE, make, inputs={}, settings={})
    run_stage(store, STAGE, make, inputs={}, settings={})
    assert make.calls == 1


def artifact(made: Made) -> Artifact:
    return made.artifact
