"""Curation with a clinic's own concepts: they are part of what a data set is made of."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medreasoner_monai.data.sources.folders import folder_sources
from medreasoner_monai.data.sources.protocol import Placed
from medreasoner_monai.data.steps import Account, Steps
from medreasoner_monai.errors import ConfigError
from medreasoner_monai.settings.data import DataSettings, FolderSettings
from medreasoner_monai.task import taxonomy

OURS = "concepts:\n  psoas abscess:\n    super: Non-Neoplasm\n    kind: finding\n"


@pytest.fixture(autouse=True)
def _as_shipped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MEDREASONER_TAXONOMY", raising=False)
    yield
    taxonomy.use(None)


def test_a_sample_has_the_super_category_of_the_clinics_concept(tmp_path: Path) -> None:
    ours = tmp_path / "ours.yaml"
    ours.write_text(OURS)
    square = np.zeros((20, 20), dtype=np.uint8)
    square[5:12, 5:12] = 255
    for folder, name in (("images", "a_CT_abdomen"), ("masks", "a_CT_abdomen_psoas+abscess")):
        (tmp_path / "set" / folder).mkdir(parents=True)
        Image.fromarray(square).save(tmp_path / "set" / folder / f"{name}.png")
    (source,) = folder_sources(FolderSettings(kind="folder", path=tmp_path / "set"))
    # As it is sent to a worker, whose process has the shipped concepts alone.
    steps = pickle.loads(pickle.dumps(Steps.of(DataSettings(taxonomy=ours))))
    assert taxonomy.resolve("psoas abscess") is None
    (made,) = [item for unit in source.units() for item in steps.run(source, unit, Account())]
    assert isinstance(made, Placed) and made.sample.supercategory == "Non-Neoplasm"


def test_the_file_is_part_of_the_identity_and_the_shipped_one_alone_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "taxonomy" not in Steps.of(DataSettings()).identity()
    ours = tmp_path / "ours.yaml"
    ours.write_text(OURS)
    named = Steps.of(DataSettings(taxonomy=ours)).identity()
    monkeypatch.setenv("MEDREASONER_TAXONOMY", str(ours))
    assert Steps.of(DataSettings()).identity() == named
    ours.write_text(OURS.replace("abscess", "haematoma"))
    assert Steps.of(DataSettings()).identity()["taxonomy"] != named["taxonomy"]


def test_a_mistake_in_it_ends_curation_before_it_begins(tmp_path: Path) -> None:
    ours = tmp_path / "ours.yaml"
    ours.write_text(OURS.replace("super", "supper"))
    with pytest.raises(ConfigError, match="ours.yaml, line 3: .*Did you mean 'super'"):
        Steps.of(DataSettings(taxonomy=ours)).identity()
