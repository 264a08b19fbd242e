"""The preflight: everything that is known to be wrong at once, and no second look at what has passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.training import plan, preflight
from medreasoner_monai.training.preflight import check_run, check_training


def settings(**model: str) -> Settings:
    return Settings.model_validate({"model": model, "data": {"sources": [{"kind": "phantoms"}]}})


def test_a_missing_model_is_told_before_a_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        check_run(settings(path=str(tmp_path / "absent")), tmp_path)


def test_an_empty_question_is_told_first(tmp_path: Path) -> None:
    asked = Settings.model_validate({"ground": {"question": " "}, "model": {"path": str(tmp_path / "absent")}})
    with pytest.raises(InputError, match="question is empty"):
        check_run(asked, tmp_path)


def test_the_flow_does_not_look_again_at_what_the_command_line_has_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[list[str]] = []
    problems = ["grpo.max_prompt is 10"]

    def found(*_: object, **__: object) -> plan.Plan:
        looked.append(list(problems))
        return plan.Plan(0, (), list(problems), ())

    monkeypatch.setattr(plan, "plan", found)
    monkeypatch.setattr(preflight, "_passed", set())
    with pytest.raises(ConfigError, match="max_prompt"):
        check_training(settings(), tmp_path)
    problems.clear()
    for _ in range(2):
        check_training(settings(), tmp_path)
    check_training(settings(), tmp_path / "other")
    assert looked == [["grpo.max_prompt is 10"], [], []]
