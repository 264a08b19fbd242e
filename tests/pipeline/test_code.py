"""Which code a result depends on, and when its digest changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from medreasoner_monai.pipeline import code
from medreasoner_monai.pipeline.code import code_digest, reach


def test_code_is_what_a_module_imports_near_and_far() -> None:
    reached = reach(["rewards.suites"])
    assert {"rewards.suites", "rewards.terms", "task.answer", "task.geometry"} <= reached
    assert "training.launch" not in reached


def test_code_named_by_a_string_counts() -> None:
    assert {"training.grpo_worker", "rewards.terms"} <= reach(["training.grpo_stage"]), (
        "it runs in a process of its own"
    )


def test_observers_and_settings_do_not_count() -> None:
    reached = reach(["training.grpo_worker", "training.finish"])
    assert "training.dataset" in reached and "rewards.terms" in reached
    assert not {m for m in reached if m.split(".")[0] in ("errors", "files", "pipeline", "settings", "report")}
    assert not reached & {"training.observe", "training.curves", "training.alarms", "training.contact"}


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts another text in the place of a module's source, and gives the digest of what imports it."""

    def change(edit) -> str:
        file, source = tmp_path / "geometry.py", code._source
        file.write_text(edit(source("task.geometry").read_text()))
        with monkeypatch.context() as patch:
            patch.setattr(code, "_source", lambda m: file if m == "task.geometry" else source(m))
            code._bare.cache_clear()
            return code_digest.__wrapped__("task.answer")

    return change


def test_digest_follows_a_change_in_an_imported_module(changed) -> None:
    same = code_digest.__wrapped__("task.answer")
    assert changed(lambda text: text + "\nEXTRA = 1\n") != same


def test_digest_does_not_follow_comments_formatting_and_docstrings(changed) -> None:
    same = code_digest.__wrapped__("task.answer")
    assert changed(lambda text: "# a remark\n" + text.replace('"""', '"""Rewritten. ', 1) + "\n\n\n") == same


def test_digests_of_different_modules_differ() -> None:
    assert code_digest("task.answer") != code_digest("task.geometry")
