"""What the documentation shows is what is there."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from medreasoner_monai.settings.config import Settings
from medreasoner_monai.settings.loading import load_settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shown_configs() -> dict[str, object]:
    """Settings shown whole, by their name."""
    found = {}
    for page in PAGES:
        for block in re.findall(r"^ *```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            values = yaml.safe_load(dedent(block))
            if isinstance(values, dict) and (ROOT / "configs" / f"{values.get('name')}.yaml").is_file():
                found[str(values["name"])] = values
    return found


@pytest.mark.parametrize("name", ["single-gpu-lora", "paper"])
def test_a_config_that_is_shown_is_the_file(name: str) -> None:
    assert Settings.model_validate(shown_configs()[name]) == load_settings(ROOT / "configs" / f"{name}.yaml")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [t for t in targets if "://" not in t]
    assert [t for t in local if not (page.parent / t).exists()] == []
