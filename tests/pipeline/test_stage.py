"""What makes a stage run again: its inputs, its settings, or code of ours that it uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from medreasoner_monai.pipeline import stage
from medreasoner_monai.pipeline.artifacts import Artifact, Draft, Store
from medreasoner_monai.pipeline.stage import code_digest, run_stage

PACKAGE = "medreasoner_monai"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


class Maker:
    """Writes a file and counts how often it was asked to; its code is that of the geometry."""

    __module__ = f"{PACKAGE}.geometry"

    def __init__(self, text: str = "one") -> None:
        self.text, self.calls = text, 0

    def __call__(self, draft: Draft) -> None:
        self.calls += 1
        (draft.path / "a.txt").write_text(self.text)


def test_same_stage_is_found_not_made_again(store: Store) -> None:
    make, reused = Maker(), list[Artifact]()
    first = run_stage(store, "thing", make, inputs={}, settings={"n": 1}, reused=reused.append)
    assert reused == []
    second = run_stage(store, "thing", make, inputs={}, settings={"n": 1}, reused=reused.append)
    assert make.calls == 1 and reused == [second] and second.path == first.path
    assert first.manifest["code"] == code_digest(f"{PACKAGE}.geometry")


def test_other_settings_or_inputs_make_another(store: Store) -> None:
    make = Maker()
    first = run_stage(store, "thing", make, inputs={}, settings={"n": 1})
    run_stage(store, "thing", make, inputs={}, settings={"n": 2})
    other = run_stage(store, "thing", Maker("two"), inputs={}, settings={"n": 3})
    run_stage(store, "next", make, inputs={"thing": first}, settings={})
    run_stage(store, "next", make, inputs={"thing": other}, settings={})
    assert make.calls == 4


def test_failed_stage_is_made_again(store: Store) -> None:
    def fail(draft: Draft) -> None:
        raise RuntimeError("no space")

    fail.__module__ = Maker.__module__
    with pytest.raises(RuntimeError, match="no space"):
        run_stage(store, "thing", fail, inputs={}, settings={})
    make = Maker()
    run_stage(store, "thing", make, inputs={}, settings={})
    assert make.calls == 1


def test_code_counts_the_module_and_what_it_imports_near_and_far() -> None:
    reached = stage._reach(f"{PACKAGE}.rewards.suites")
    near, far = f"{PACKAGE}.rewards.terms", f"{PACKAGE}.answer"
    assert {f"{PACKAGE}.rewards.suites", near, far, f"{PACKAGE}.geometry"} <= reached
    assert f"{PACKAGE}.training.launch" not in reached


def test_code_that_decides_no_result_does_not_count() -> None:
    assert not stage._reach(f"{PACKAGE}.rewards.suites") & {f"{PACKAGE}.errors", f"{PACKAGE}.artifacts"}


def test_digest_follows_a_change_in_an_imported_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest() -> str:
        return code_digest.__wrapped__(f"{PACKAGE}.answer")

    before = digest()
    changed = tmp_path / "geometry.py"
    source = stage._source
    changed.write_bytes(source(f"{PACKAGE}.geometry").read_bytes() + b"\n# changed\n")
    monkeypatch.setattr(stage, "_source", lambda m: changed if m == f"{PACKAGE}.geometry" else source(m))
    assert digest() != before
    assert code_digest.__wrapped__(f"{PACKAGE}.processes") == code_digest(f"{PACKAGE}.processes")


def test_digests_of_different_modules_differ() -> None:
    assert code_digest(f"{PACKAGE}.answer") != code_digest(f"{PACKAGE}.geometry")


def test_the_code_of_a_process_that_a_stage_starts_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = stage._reach(f"{PACKAGE}.training.grpo")
    assert {f"{PACKAGE}.training.grpo_worker", f"{PACKAGE}.rewards.terms"} <= reached
