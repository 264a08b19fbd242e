"""docs/data-sources.md: each config it shows is one, and each kind of source is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from medreasoner_monai.data.sources.folders import folder_sources
from medreasoner_monai.data.sources.registry import KINDS, factory
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.settings.data import SOURCES

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "data-sources.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("kind", KINDS)
def test_a_section_shows_a_config_of_its_kind(kind: str) -> None:
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", SECTIONS[kind], re.DOTALL)]
    assert shown
    for values in shown:
        sources = Settings.model_validate(values).data.sources
        assert {source.kind for source in sources} == {kind}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_settings_and_a_factory(kind: str) -> None:
    assert SOURCES[kind].model_fields["kind"].annotation.__args__ == (kind,)  # type: ignore[union-attr]
    assert callable(factory(kind))


def test_the_patterns_that_are_shown_fit_the_real_sets() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", SECTIONS["folder"], re.DOTALL)
    first, second = Settings.model_validate(yaml.safe_load(block)).data.sources
    for shown in (first, second):
        path = ROOT / shown.path  # type: ignore[union-attr]
        if not path.is_dir():
            pytest.skip("the real sets are not beside the repository (../shared/data)")
        for source in folder_sources(shown.model_copy(update={"path": path})):  # type: ignore[arg-type]
            assert list(source.units())
