"""Curation on a Ray cluster: the same data set as on one machine, shard by shard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medreasoner_monai.data.curate_stage import curate_into
from medreasoner_monai.errors import ConfigError
from medreasoner_monai.files import file_digest
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.settings.data import DataSettings, FolderSettings, WorkSettings

ray = pytest.importorskip("ray", reason="Ray is not installed (the extra 'ray')")


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two nodes on loopback, one core each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    small = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=small)
    cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield
    ray.shutdown()
    cluster.shutdown()


def made_set(folder: Path, pictures: int) -> Path:
    """Noise with two rectangles each."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(pictures):
        rng = np.random.default_rng(number)
        image = rng.integers(0, 100, (96, 96), dtype=np.uint8)
        for target in ("liver", "spleen"):
            mask = np.zeros((96, 96), dtype=np.uint8)
            top, left = rng.integers(4, 60, 2)
            mask[top : top + 24, left : left + 30] = 255
            image[mask > 0] += 60
            Image.fromarray(mask).save(folder / "masks" / f"{number:03}_CT_abdomen_{target}.png")
        Image.fromarray(image).save(folder / "images" / f"{number:03}_CT_abdomen.png")
    return folder


def curated(where: Path, folder: Path, engine: str) -> dict[str, str]:
    draft = Draft(where / "dataset.partial", where / "dataset.scratch")
    given = FolderSettings(kind="folder", path=folder)
    curate_into(draft, DataSettings(sources=(given,), work=WorkSettings(engine=engine)), NoProgress())  # type: ignore[arg-type]
    return {path.name: file_digest(path) for path in draft.path.glob("*.parquet")}


def test_a_cluster_makes_the_data_set_that_one_machine_makes(tmp_path: Path, two_nodes: None) -> None:
    folder = made_set(tmp_path / "set", 400)  # 800 masks: more shards than nodes
    here = curated(tmp_path / "here", folder, "local")
    there = curated(tmp_path / "there", folder, "ray")
    assert here == there
    assert set(here) == {"train.parquet", "val.parquet", "test.parquet", "rejects.parquet", "groups.parquet"}
    shards = tmp_path / "there" / "dataset.scratch" / "shards"
    finished = {path: path.stat().st_mtime_ns for path in shards.glob("*[0-9].parquet")}
    assert len(finished) > 2
    (shards / "000001.json").unlink()  # as if the curation had been killed before it arrived
    assert curated(tmp_path / "there", folder, "ray") == here
    again = [path.name for path, time in finished.items() if path.stat().st_mtime_ns != time]
    assert again == ["000001.parquet"]


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    folder = made_set(tmp_path / "set", 3)
    with pytest.raises(ConfigError, match="no Ray cluster answers at RAY_ADDRESS=127.0.0.1:1"):
        curated(tmp_path / "there", folder, "ray")
    assert "RAY_ADDRESS" in os.environ
