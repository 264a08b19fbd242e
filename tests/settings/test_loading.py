"""Config files: every one in the project loads, and a mistake in one is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.settings.data import ParquetSettings, PhantomSettings
from medreasoner_monai.settings.loading import load_settings

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("name: try\ngrpo:\n  steps: 5\n")
    return path


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_config_of_the_project_loads(path: Path) -> None:
    assert load_settings(path).name


def test_there_are_configs() -> None:
    assert {"starter.yaml", "smoke.yaml"} <= {p.name for p in CONFIGS}


def test_what_is_not_said_has_its_default(config: Path, tmp_path: Path) -> None:
    settings = load_settings(config)
    assert (settings.name, settings.grpo.steps, settings.grpo.rollouts) == ("try", 5, Settings().grpo.rollouts)
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing\n")
    assert load_settings(empty) == Settings()


def test_override_is_yaml_at_its_place(config: Path) -> None:
    settings = load_settings(config, ["grpo.steps=7", "grpo.rewards.suite=hard", "evaluate.segmenters=[box, ellipse]"])
    assert settings.grpo.steps == 7 and settings.grpo.rewards.suite == "hard"
    assert settings.evaluate.segmenters == ("box", "ellipse")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().grpo.steps = 3  # type: ignore[misc]


def test_source_is_chosen_by_its_kind(config: Path) -> None:
    (drawn,) = load_settings(config, ["data.sources=[{kind: phantoms}]"]).data.sources
    assert isinstance(drawn, PhantomSettings)
    given = "data.sources=[{kind: parquet, train: a.parquet, test: b.parquet}]"
    first, second = load_settings(
        config, [given, "data.sources.0.val=c.parquet", "data.sources.1.kind=phantoms"]
    ).data.sources
    assert isinstance(first, ParquetSettings) and str(first.val) == "c.parquet"
    assert isinstance(second, PhantomSettings), "one behind the last adds a source"


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("grpo.step=5", "unknown key grpo.step. Did you mean 'steps'?"),
        ("grpos.steps=5", "unknown key grpos. Did you mean 'grpo'?"),
        ("grpo.rewards.suit=soft", "unknown key grpo.rewards.suit. Did you mean 'suite'?"),
        ("data.sources=[{kind: phantoms, tran: 5}]", "Did you mean 'train'?"),
        ("model.starter.hiden=5", "unknown key model.starter.hiden."),
    ],
)
def test_unknown_key_is_refused_with_the_nearest(config: Path, override: str, hint: str) -> None:
    assert hint in refused(config, override)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("grpo.steps=0", "grpo.steps: Input should be greater than or equal to 1 (got 0)"),
        (
            "grpo.rewards.suite=soften",
            "grpo.rewards.suite: Input should be 'base', 'soft', 'hard' or 'abstain' (got 'soften')",
        ),
        ("grpo.steps", "an override is section.key=value, got 'grpo.steps'"),
        ("name.first=x", "name is a value, not a section"),
        ("data.sources=[{kind: dicom}]", "data.sources.0"),
        ("data.sources.2.kind=phantoms", "2 is not the number of an entry, of which there are 0"),
        ("data.sources.first.kind=phantoms", "data.sources: Input should be a valid tuple"),
    ],
)
def test_wrong_value_is_named_with_what_was_expected(config: Path, override: str, said: str) -> None:
    assert said in refused(config, override)


def test_all_mistakes_are_told_at_once(config: Path) -> None:
    said = refused(config, "grpo.steps=0", "cold_start.batch=0")
    assert "grpo.steps" in said and "cold_start.batch" in said


def test_file_that_is_no_config_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    assert "no config file" in refused(path)
    path.write_text("a: [1")
    assert "is not YAML" in refused(path)
    path.write_text("- a\n- b\n")
    assert "must hold settings by name, found list" in refused(path)


def test_override_that_is_not_yaml_is_refused(config: Path) -> None:
    assert refused(config, "grpo.steps=[1") == "'grpo.steps=[1': what stands behind the equals sign is not YAML"
